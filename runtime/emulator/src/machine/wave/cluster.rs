//! A cluster as it becomes resident.

use super::super::asynchronous::Queue;
use super::super::context::{Barrier, Cta};
use super::super::order::Order;
use super::super::shadow::Shadow;
use super::super::tensor_memory::Tensor;
use super::super::{Frame, Warp};
use super::Setting;
use crate::counts::Counts;
use crate::memory::Bytes;
use crate::memory::tensor::TensorMemory;
use std::collections::BTreeMap;

/// CTAs that share a barrier and each other's memory.
pub(super) struct Cluster {
    pub ctas: Vec<Cta>,
    /// Of each CTA.
    pub warps: Vec<Vec<Warp>>,
    /// Work that is not done.
    pub queue: Queue,
    pub order: Order,
}

impl Cluster {
    /// The cluster whose first CTA is at a place, by its number in the grid.
    pub fn new(setting: &Setting<'_>, first: [u32; 3], number: u32) -> Self {
        let Setting {
            program,
            kernel,
            launch,
            ..
        } = *setting;
        let [x, y, z] = launch.cluster;
        let ids = (0..z).flat_map(|k| (0..y).flat_map(move |j| (0..x).map(move |i| [i, j, k])));
        let shared = program.functions[kernel].dynamic_shared + launch.dynamic_shared;
        let ctas: Vec<Cta> = ids
            .map(|own| Cta {
                id: std::array::from_fn(|i| first[i] + own[i]),
                shared: Bytes::unwritten(shared as usize),
                counts: Counts::default(),
                barriers: [Barrier::default(); 16],
                mbarriers: BTreeMap::new(),
                shadow: Shadow::default(),
                tensor: Tensor {
                    memory: TensorMemory::new(launch.seed & 1 == 1),
                    ..Tensor::default()
                },
                has_ended: false,
            })
            .collect();
        let warps: Vec<Vec<Warp>> = ctas.iter().map(|_| warps(setting)).collect();
        let count = warps.iter().map(Vec::len).sum::<usize>() as u32;
        Self {
            ctas,
            warps,
            queue: Queue::default(),
            order: Order::new(number, count, launch.races),
        }
    }

    pub fn is_live(&self) -> bool {
        self.warps.iter().flatten().any(|warp| warp.live() != 0)
    }
}

fn warps(setting: &Setting<'_>) -> Vec<Warp> {
    let threads: u32 = setting.launch.block.iter().product();
    let function = &setting.program.functions[setting.kernel];
    (0..threads.div_ceil(32))
        .map(|index| {
            let lanes = u32::MAX >> (32 - (threads - index * 32).min(32));
            let frame = Frame::new(setting.kernel, function, None, lanes, 0);
            let mut warp = Warp::new(index, lanes, frame);
            for local in &mut warp.local {
                local.grow(function.local_bytes as usize);
            }
            warp
        })
        .collect()
}
