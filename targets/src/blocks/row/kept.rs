//! Values that more than one pass over a row needs: computed in the first, kept in scratch memory for the others where
//! computing them again would take longer than reading them.

use super::super::work;
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use std::collections::BTreeSet;
use tessera_ir::{Graph, ValueId};

/// A row's kept values take no more than this: about half of a second-level cache.
const MOST_BYTES: usize = 256 << 10;

/// Instructions an element that are worth a write and a read in the first-level cache.
const WORTHWHILE: f64 = 4.0;

/// The values kept.
pub struct Kept {
    values: Vec<KeptValue>,
    /// The dimensions before those of a row, and a row's.
    rank: usize,
    row: Vec<usize>,
}

struct KeptValue {
    value: ValueId,
    /// The pass that computes it.
    computed: usize,
    /// The later passes that need it.
    needed: Vec<usize>,
    /// Where in scratch memory the row of it begins.
    offset: usize,
}

impl Kept {
    /// Which values of the rows' shape to keep, where each pass computes its `roots`.
    pub fn choose(
        emission: &Emission<'_, '_>,
        shape: &[usize],
        rows: &[usize],
        roots: &[Vec<ValueId>],
    ) -> Self {
        let mut search = Search {
            graph: &emission.kernel.body,
            shape,
            rows,
            computed: vec![None; emission.kernel.body.value_count()],
            values: Vec::new(),
        };
        for (pass, roots) in roots.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for &root in roots {
                search.visit(root, pass, &mut seen);
            }
        }
        let row = shape[rows.len()..].to_vec();
        // Eight bytes an element are enough for every type.
        let bytes = 8 * row.iter().product::<usize>().next_multiple_of(8);
        let mut values = search.values;
        values.truncate(MOST_BYTES / bytes.max(1));
        for (number, value) in values.iter_mut().enumerate() {
            value.offset = number * bytes;
        }
        Self {
            values,
            rank: rows.len(),
            row,
        }
    }

    /// The scratch memory they take.
    pub fn bytes(&self) -> usize {
        let row = 8 * self.row.iter().product::<usize>().next_multiple_of(8);
        self.values.len() * row
    }

    /// Reads what this pass needs of earlier ones at `indices`.
    pub fn provide(&self, emission: &mut Emission<'_, '_>, pass: usize, indices: &[Expression]) {
        for kept in self
            .values
            .iter()
            .filter(|kept| kept.needed.contains(&pass))
        {
            let element = emission.kernel.body.tensor_type(kept.value).element;
            let (base, position) = self.place(emission, kept, indices);
            let x = emission.load_accumulator(base, element, &position);
            emission.elemental.provide(kept.value, indices.to_vec(), x);
        }
    }

    /// Writes what later passes need of this one at `indices`.
    ///
    /// # Errors
    /// An element cannot be computed here.
    pub fn keep(
        &self,
        emission: &mut Emission<'_, '_>,
        pass: usize,
        indices: &[Expression],
    ) -> Result<(), Unsupported> {
        for kept in self.values.iter().filter(|kept| kept.computed == pass) {
            let element = emission.kernel.body.tensor_type(kept.value).element;
            let x = emission.elemental.element(kept.value, indices)?;
            let (base, position) = self.place(emission, kept, indices);
            emission.store_accumulator(x, base, element, &position);
        }
        Ok(())
    }

    /// The row's address in scratch memory and the position in the row.
    fn place<'c>(
        &self,
        emission: &Emission<'c, '_>,
        kept: &KeptValue,
        indices: &[Expression],
    ) -> (crate::mlir::Value<'c>, Expression) {
        let b = emission.elemental.builder();
        let offset = b.constant_i64(kept.offset as i64);
        let base = b.element_address(emission.scratch, b.integer(8), offset);
        (base, index::linearize(&indices[self.rank..], &self.row))
    }
}

/// Walks from what each pass computes back to what it needs for that.
struct Search<'a> {
    graph: &'a Graph,
    shape: &'a [usize],
    rows: &'a [usize],
    /// The first pass that computes each value.
    computed: Vec<Option<usize>>,
    values: Vec<KeptValue>,
}

impl Search<'_> {
    fn visit(&mut self, value: ValueId, pass: usize, seen: &mut BTreeSet<ValueId>) {
        let Some(operation) = self.graph.defining_operation(value) else {
            return;
        };
        if self.graph.tensor_type(value).shape != self.shape || !seen.insert(value) {
            return;
        }
        let first = *self.computed[value.index()].get_or_insert(pass);
        if first < pass && self.cost(value) >= WORTHWHILE {
            self.remember(value, first, pass);
            return;
        }
        for &operand in &operation.op.operands {
            self.visit(operand, pass, seen);
        }
    }

    fn remember(&mut self, value: ValueId, computed: usize, pass: usize) {
        if let Some(kept) = self.values.iter_mut().find(|kept| kept.value == value) {
            kept.needed.push(pass);
            return;
        }
        self.values.push(KeptValue {
            value,
            computed,
            needed: vec![pass],
            offset: 0,
        });
    }

    /// Instructions that computing an element takes, from loads and from what is known of the row.
    fn cost(&self, value: ValueId) -> f64 {
        let mut seen = BTreeSet::new();
        let mut open = vec![value];
        let mut cost = 0.0;
        while let Some(value) = open.pop() {
            let tensor_type = self.graph.tensor_type(value);
            let known = tensor_type.shape == self.rows && self.rows != self.shape;
            if known || tensor_type.rank() == 0 || !seen.insert(value) {
                continue;
            }
            if let Some(operation) = self.graph.defining_operation(value) {
                cost += work::instructions(&operation.op.kind);
                open.extend(&operation.op.operands);
            }
        }
        cost
    }
}
