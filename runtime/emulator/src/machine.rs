//! A grid being executed.
//!
//! Warps take turns in an order drawn from the launch's seed. A warp's lanes are together as long as they go the same way;
//! then each way is a *strand* of its own. The strand that is furthest behind goes on first, as a rule, so that strands meet
//! again where their ways do.
//!
//! What is done beside the warps waits in a queue until somebody needs it. Every access of memory that several warps see is
//! held against what its warp knows of the others: what is not ordered is found.

mod asynchronous;
mod context;
mod execute;
mod frame;
mod grid;
mod kept;
mod mbarrier;
mod order;
mod paths;
mod places;
mod random;
mod setup;
mod shadow;
mod tensor_memory;
mod warp;
mod wave;

pub(crate) use execute::ring_sum;
pub(crate) use frame::{Frame, Lanes, lanes_of};
pub use grid::launch;
pub(crate) use order::FencedMemory;
pub use setup::shared_memory_limit;
pub(crate) use warp::{State, Strand, Warp};
