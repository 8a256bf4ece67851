//! A box of a tensor as moves between global and shared memory (PTX ISA 5.5, tiled mode).

use super::{From, Move, Spot};
use crate::tensor_map::{Fill, TensorElement, TensorMap};

/// A number of the innermost dimension that is a piece of a row, in bytes of both memories.
struct Piece {
    /// From the row's first number of the box, in global memory.
    global: i64,
    /// From the row's beginning in the box.
    shared: u64,
    bytes: u64,
    is_inside: bool,
}

/// The moves of a box at coordinates, between global memory and a place in shared memory: a load's fill what is outside, a
/// store's leave it out.
pub(crate) fn moves(map: &TensorMap, coordinates: &[i64], shared: Spot, loads: bool) -> Vec<Move> {
    let pieces = pieces(map, coordinates[0]);
    let row_bytes = u64::from(map.box_dimensions[0]) * map.element.shared_bits() / 8;
    let rows: u64 = map.box_dimensions[1..]
        .iter()
        .map(|&n| u64::from(n))
        .product();
    let mut moves = Vec::new();
    for row in 0..rows {
        let mut left = row;
        let mut is_inside = true;
        let mut begin = coordinates[0] * map.element.bits() as i64 / 8;
        for (i, &length) in map.box_dimensions.iter().enumerate().skip(1) {
            let own = coordinates[i] + (left % u64::from(length)) as i64;
            left /= u64::from(length);
            is_inside &= own >= 0 && (own as u64) < map.dimensions[i];
            begin += own * map.strides[i - 1] as i64;
        }
        for piece in &pieces {
            let in_shared = place(map, shared, row * row_bytes + piece.shared);
            let in_global = Spot::Global(map.address.wrapping_add_signed(begin + piece.global));
            let bytes = piece.bytes as u32;
            let is_inside = is_inside && piece.is_inside;
            match (loads, is_inside) {
                (true, true) => moves.push(Move {
                    from: From::Memory(in_global),
                    to: in_shared,
                    bytes,
                }),
                (true, false) => moves.push(Move {
                    from: From::Pattern(pattern(map)),
                    to: in_shared,
                    bytes,
                }),
                (false, true) => moves.push(Move {
                    from: From::Memory(in_shared),
                    to: in_global,
                    bytes,
                }),
                (false, false) => {}
            }
        }
    }
    moves
}

/// Where a byte of a box lies: the swizzle is one of addresses, wherever the box begins.
fn place(map: &TensorMap, begin: Spot, offset: u64) -> Spot {
    match begin {
        Spot::Shared(rank, place) => Spot::Shared(rank, map.swizzle.apply(place + offset)),
        Spot::Global(address) => Spot::Global(address + offset),
    }
}

/// A row of a box cut where memory does not go on: by the swizzle, by gaps, at the tensor's ends.
fn pieces(map: &TensorMap, first: i64) -> Vec<Piece> {
    let element = map.element;
    let length = i64::from(map.box_dimensions[0]);
    let atom = match (element.has_gaps(), map.swizzle.span()) {
        (true, _) => 16,
        (false, Some(_)) => (map.swizzle.atom() * 8 / element.bits()) as i64,
        (false, None) => length,
    };
    let dimension = map.dimensions[0] as i64;
    // Numbers of the box from which and to which the tensor is there.
    let (from, to) = (
        (-first).clamp(0, length),
        (dimension - first).clamp(0, length),
    );
    let mut pieces = Vec::new();
    for begin in (0..length).step_by(atom as usize) {
        let end = (begin + atom).min(length);
        let mut cuts = vec![begin, from.clamp(begin, end), to.clamp(begin, end), end];
        cuts.dedup();
        for cut in cuts.windows(2) {
            pieces.push(Piece {
                global: cut[0] * element.bits() as i64 / 8,
                shared: (cut[0] as u64 * element.shared_bits()) / 8,
                bytes: (cut[1] - cut[0]) as u64 * element.bits() / 8,
                is_inside: from <= cut[0] && cut[1] <= to,
            });
        }
    }
    pieces
}

fn pattern(map: &TensorMap) -> &'static [u8] {
    match (map.fill, map.element) {
        (Fill::Nan, TensorElement::F16 | TensorElement::Bf16) => &[0xff, 0x7f],
        (Fill::Nan, TensorElement::F32) => &[0xff, 0xff, 0xff, 0x7f],
        (Fill::Nan, TensorElement::F64) => &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        _ => &[0],
    }
}
