//! Generic addresses: which memory a 64-bit address is of (PTX ISA 6.4.1.1).
//!
//! Shared, local and parameter memory each have a window of their own; all else is global memory, which constant memory is
//! a part of. In shared memory's window the CTAs of a cluster lie one behind the other: an address without a rank is of the
//! CTA itself.

/// A window of generic addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Window {
    Global,
    Shared,
    Local,
    Parameter,
}

const SHARED: u64 = 0x0100_0000_0000;
const LOCAL: u64 = 0x0200_0000_0000;
const PARAMETER: u64 = 0x0300_0000_0000;
const SIZE: u64 = 1 << 32;
/// Bits of a place in one CTA's shared memory; above them stands the rank in the cluster plus one.
const PLACE_BITS: u32 = 24;

/// Where addresses of global memory begin.
pub(crate) const GLOBAL_BEGIN: u64 = 0x7f00_0000_0000;

impl Window {
    const fn begin(self) -> u64 {
        match self {
            Self::Global => 0,
            Self::Shared => SHARED,
            Self::Local => LOCAL,
            Self::Parameter => PARAMETER,
        }
    }
}

/// The window of a generic address; none of one that no memory has.
pub(crate) fn window(address: u64) -> Option<Window> {
    [Window::Shared, Window::Local, Window::Parameter]
        .into_iter()
        .find(|window| (window.begin()..window.begin() + SIZE).contains(&address))
        .or((address >= GLOBAL_BEGIN).then_some(Window::Global))
}

/// The generic address of a place in a window's memory.
pub(crate) const fn to_generic(window: Window, place: u64) -> u64 {
    match window {
        Window::Global => place,
        _ => window.begin() + (place & (SIZE - 1)),
    }
}

/// The place in a window's memory of a generic address of it.
pub(crate) const fn from_generic(window: Window, address: u64) -> u64 {
    match window {
        Window::Global => address,
        _ => address & (SIZE - 1),
    }
}

/// A place of shared memory in the CTA of a rank.
pub(crate) const fn in_cluster(place: u64, rank: u64) -> u64 {
    (place & ((1 << PLACE_BITS) - 1)) | (rank + 1) << PLACE_BITS
}

/// The rank that a place in shared memory names, and the place in that CTA; no rank is one's own.
pub(crate) const fn rank(place: u64) -> (Option<u64>, u64) {
    let own = place & ((1 << PLACE_BITS) - 1);
    match place >> PLACE_BITS {
        0 => (None, own),
        rank => (Some(rank - 1), own),
    }
}
