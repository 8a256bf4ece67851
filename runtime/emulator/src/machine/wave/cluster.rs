//! A cluster as it becomes resident.

use super::super::asynchronous::Queue;
use super::super::context::{Barrier, Cta};
use super::super::frame::{OfLanes, lanes_of};
use super::super::order::Order;
use super::super::shadow::Shadow;
use super::super::tensor_memory::Tensor;
use super::super::{Frame, State, Warp};
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
    /// The warps of each CTA that can go on: a bit for each.
    ready: Vec<u32>,
    /// Whether a strand may wait for an mbarrier or for tensor memory.
    pub has_sleepers: bool,
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
                visits: BTreeMap::new(),
            })
            .collect();
        let warps: Vec<Vec<Warp>> = ctas.iter().map(|_| warps(setting)).collect();
        let count = warps.iter().map(Vec::len).sum::<usize>() as u32;
        let mut cluster = Self {
            ready: vec![0; ctas.len()],
            ctas,
            warps,
            queue: Queue::default(),
            order: Order::new(number, count, launch.races),
            has_sleepers: false,
        };
        cluster.look();
        cluster
    }

    /// Looks which warps can go on.
    pub fn look(&mut self) {
        for cta in 0..self.warps.len() {
            for warp in 0..self.warps[cta].len() {
                self.look_at(cta, warp);
            }
        }
    }

    /// Looks whether a warp can go on.
    pub fn look_at(&mut self, cta: usize, warp: usize) {
        let mut strands = self.warps[cta][warp].strands.iter();
        let is_ready = strands.any(|strand| strand.state == State::Ready);
        self.ready[cta] = self.ready[cta] & !(1 << warp) | u32::from(is_ready) << warp;
    }

    /// How many warps can go on.
    pub fn ready(&self) -> usize {
        let counts = self.ready.iter().map(|warps| warps.count_ones() as usize);
        counts.sum()
    }

    /// One of those that can go on by its number among them: its CTA, and its own number there.
    pub fn nth_ready(&self, mut number: usize) -> Option<(usize, usize)> {
        for (cta, &warps) in self.ready.iter().enumerate() {
            let count = warps.count_ones() as usize;
            if number < count {
                return lanes_of(warps).nth(number).map(|warp| (cta, warp as usize));
            }
            number -= count;
        }
        None
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
            warp.local = OfLanes::unwritten(function.local_bytes as usize);
            warp
        })
        .collect()
}
