//! Which steps lie behind a barrier for good: lanes that are there have gone past it, and never come to it.

use super::{Function, Step};
use crate::instruction::{Action, Control, Synchronise};
use std::collections::HashMap;
use std::sync::OnceLock;

/// The steps behind each barrier of a function that whole warps come to, found where first somebody asks.
#[derive(Default)]
pub(crate) struct Behind(OnceLock<HashMap<usize, Vec<bool>>>);

impl Function {
    /// Whether a step lies behind a barrier of whole warps, from which no way leads back to it.
    pub fn is_behind(&self, step: usize, barrier: usize) -> bool {
        let all = self.behind.0.get_or_init(|| all(&self.steps));
        let steps = all.get(&barrier);
        steps.is_some_and(|steps| steps.get(step).copied().unwrap_or(false))
    }
}

impl Step {
    /// Whether all lanes of a warp must come to it together, as to `bar.sync`.
    pub fn is_aligned_barrier(&self) -> bool {
        let Action::Synchronise(synchronise) = &self.action else {
            return false;
        };
        matches!(
            synchronise,
            Synchronise::Barrier { aligned: true, .. } | Synchronise::Arrive { aligned: true, .. }
        )
    }
}

fn all(steps: &[Step]) -> HashMap<usize, Vec<bool>> {
    let next: Vec<Vec<usize>> = (0..steps.len()).map(|step| next(steps, step)).collect();
    let mut before = vec![Vec::new(); steps.len()];
    for (step, next) in next.iter().enumerate() {
        for &other in next {
            before[other].push(step);
        }
    }
    let barriers = (0..steps.len()).filter(|&step| steps[step].is_aligned_barrier());
    barriers
        .map(|barrier| {
            let (after, leading) = (reached(&next, barrier), reached(&before, barrier));
            let behind = after.into_iter().zip(leading);
            (
                barrier,
                behind.map(|(after, leads)| after && !leads).collect(),
            )
        })
        .collect()
}

/// The steps that lanes may come to from a step.
fn next(steps: &[Step], step: usize) -> Vec<usize> {
    let own = &steps[step];
    let mut targets = match &own.action {
        Action::Control(Control::Branch(target)) => vec![*target],
        Action::Control(Control::IndexedBranch { targets, .. }) => targets.clone(),
        _ => Vec::new(),
    };
    let stays = matches!(
        own.action,
        Action::Control(
            Control::Branch(_)
                | Control::IndexedBranch { .. }
                | Control::Return
                | Control::Exit
                | Control::Trap
        )
    );
    if own.guard.is_some() || !stays {
        targets.push(step + 1);
    }
    targets.retain(|&target| target < steps.len());
    targets
}

/// The steps that some edges lead to from one; that one too, if they lead back.
fn reached(edges: &[Vec<usize>], from: usize) -> Vec<bool> {
    let mut reached = vec![false; edges.len()];
    let mut left = vec![from];
    while let Some(step) = left.pop() {
        for &other in &edges[step] {
            if !std::mem::replace(&mut reached[other], true) {
                left.push(other);
            }
        }
    }
    reached
}
