//! How products are cut into tasks.

use super::kernel::Geometry;

/// As many tasks for each thread leave little to wait for at the end.
const TASKS_PER_THREAD: usize = 4;

/// The multiply-adds that are worth a task: about 50 microseconds.
const TASK_WORK: u128 = 1 << 23;

/// The tasks of a batch of products.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// The tiles.
    geometry: Geometry,
    /// Rows of a task, whole tiles.
    pub(super) rows: usize,
    /// Columns of a task, whole tiles.
    pub(super) columns: usize,
    /// Tasks along the rows of one product.
    pub(super) row_tasks: usize,
    /// Tasks along the columns of one product.
    pub(super) column_tasks: usize,
    /// Tasks of all products.
    pub(super) tasks: usize,
    /// The tasks that are worth a thread.
    pub(super) grain: usize,
}

impl Cut {
    /// Cuts that many products of rows by columns, with sums along an axis of that length, for a number of threads.
    pub(super) fn new(
        geometry: Geometry,
        products: usize,
        rows: usize,
        columns: usize,
        axis: usize,
        threads: usize,
    ) -> Self {
        let cuts = geometry.tasks.map(|(most_rows, most_columns)| {
            let task_rows = most_rows.min(rows.max(1)).next_multiple_of(geometry.rows);
            let task_columns = most_columns
                .min(columns.max(1))
                .next_multiple_of(geometry.columns);
            let work = (task_rows * task_columns) as u128 * axis.max(1) as u128;
            let row_tasks = rows.div_ceil(task_rows);
            let column_tasks = columns.div_ceil(task_columns);
            Self {
                geometry,
                rows: task_rows,
                columns: task_columns,
                row_tasks,
                column_tasks,
                // There are no more tasks than elements in the results.
                tasks: if products == 0 {
                    0
                } else {
                    products * row_tasks * column_tasks
                },
                grain: TASK_WORK.div_ceil(work) as usize,
            }
        });
        let is_enough =
            |cut: &&Self| cut.tasks >= threads.saturating_mul(TASKS_PER_THREAD) || cut.grain > 1;
        *cuts.iter().find(is_enough).unwrap_or(&cuts[cuts.len() - 1])
    }

    /// The tiles of a task.
    pub(super) fn tiles(&self) -> usize {
        self.row_panels() * (self.columns / self.geometry.columns)
    }

    /// The tiles of a task along its rows.
    pub(super) fn row_panels(&self) -> usize {
        self.rows / self.geometry.rows
    }
}
