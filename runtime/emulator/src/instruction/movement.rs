//! `mov` and conversions of addresses (PTX ISA 9.7.9.1 to 9.7.9.20).

use super::number::Number;
use super::words::Words;
use super::{Action, Compute, Refusal, Source, Special};
use crate::memory::address::{self, Window};
use crate::program::Register;
use crate::ptx::Operand;

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    match words.opcode() {
        "mov" => mov(words),
        "cvta" => cvta(words),
        "isspacep" => is_space(words),
        "getctarank" => rank(words),
        _ => mapa(words),
    }
}

fn window(name: &str) -> Option<Window> {
    Some(match name {
        "shared" | "shared::cta" | "shared::cluster" => Window::Shared,
        "local" => Window::Local,
        "param" | "param::entry" => Window::Parameter,
        "global" | "const" => Window::Global,
        _ => return None,
    })
}

/// Whether a generic address is of a space. The own CTA's shared memory is a part of the cluster's, and the kernel's parameters
/// of global memory (PTX ISA 9.7.9.21, 6.4.1.1). Constant memory is not told from global memory here.
fn is_space(words: &mut Words<'_>) -> Result<Action, Refusal> {
    #[derive(Clone, Copy)]
    enum Asked {
        Own,
        Of(&'static [Window]),
    }
    let asked = words.needed("space", |word| {
        Some(match word {
            "shared" | "shared::cta" => Asked::Own,
            "shared::cluster" => Asked::Of(&[Window::Shared]),
            "local" => Asked::Of(&[Window::Local]),
            "param" | "param::entry" => Asked::Of(&[Window::Parameter]),
            "global" => Asked::Of(&[Window::Global, Window::Parameter]),
            _ => return None,
        })
    })?;
    words.counted(&[2])?;
    Ok(Action::Compute(Compute {
        parts: 0,
        function: super::of_each_lane(move |&[a, own, ..]| {
            let Some(window) = address::window(a) else {
                return [0; 4];
            };
            let is_of = match asked {
                Asked::Of(windows) => windows.contains(&window),
                Asked::Own => {
                    let place = address::from_generic(Window::Shared, a);
                    window == Window::Shared
                        && address::rank(place).0.is_none_or(|rank| rank == own)
                }
            };
            [u64::from(is_of), 0, 0, 0]
        }),
        sources: vec![words.source(1)?, Source::Special(Special::ClusterCtarank)],
        destinations: vec![words.destination(0)?],
    }))
}

/// 128 bits, which are two registers: from one such number or of two of 64 bits, to one or to two.
fn mov_wide(words: &Words<'_>) -> Result<Action, Refusal> {
    let (sources, destinations) = (words.sources(1)?, words.destinations(0)?);
    if sources.len() != 2 || destinations.len() != 2 {
        return Err(words.refuse("is of a number of 128 bits, or of its halves"));
    }
    Ok(Action::Compute(Compute {
        parts: 0,
        function: super::of_each_lane(|&[low, high, ..]| [low, high, 0, 0]),
        sources,
        destinations,
    }))
}

/// One value to one register, several to one, one to several.
fn mov(words: &mut Words<'_>) -> Result<Action, Refusal> {
    words.counted(&[2])?;
    if words.has("b128") {
        return mov_wide(words);
    }
    let number = words.number()?;
    let format = match number {
        Number::Float(format) => format,
        _ => crate::arithmetic::Float::F64,
    };
    match (&words.operands()[0], &words.operands()[1]) {
        (Operand::Vector(_), _) => {
            let destinations = words.destinations(0)?;
            let count = destinations.len() as u32;
            let bits = part(words, number, count, &destinations)?;
            let mask = u64::MAX >> (64 - bits);
            Ok(Action::Compute(Compute {
                parts: 0,
                function: super::of_each_lane(move |values| {
                    let mut parts = [0; 4];
                    for (i, part) in parts.iter_mut().enumerate().take(count as usize) {
                        *part = values[0] >> (i as u32 * bits) & mask;
                    }
                    parts
                }),
                sources: vec![words.source(1)?],
                destinations,
            }))
        }
        (_, Operand::Vector(_)) => {
            let sources = words.sources(1)?;
            let count = sources.len() as u32;
            let registers = sources.iter().map(|source| match source {
                Source::Register(register) => Some(*register),
                _ => None,
            });
            let bits = part(words, number, count, &registers.collect::<Vec<_>>())?;
            let mask = u64::MAX >> (64 - bits);
            Ok(Action::Compute(Compute {
                parts: sources.len(),
                function: super::of_each_lane(move |values| {
                    let joined = (0..count).fold(0, |joined, i| {
                        joined | (values[i as usize] & mask) << (i * bits)
                    });
                    [joined, 0, 0, 0]
                }),
                sources,
                destinations: vec![words.destination(0)?],
            }))
        }
        _ => {
            let mask = u64::MAX >> (64 - number.bits());
            words.compute_in(format, move |[a]| a & mask)
        }
    }
}

/// Bits of one part of a value taken apart or put together, of registers where it is of any.
fn part(
    words: &Words<'_>,
    number: Number,
    count: u32,
    registers: &[Option<Register>],
) -> Result<u32, Refusal> {
    let bits = number.bits();
    let mut types = words.instruction.modifiers.iter();
    if !types.any(|word| matches!(&word[..], "b16" | "b32" | "b64")) {
        return Err(words.refuse("is of parts, and of no type of bits"));
    }
    if !matches!(count, 1 | 2 | 4) || bits / count < 8 {
        return Err(words.refuse(format!(
            "has {count} parts of {bits} bits, which is not modelled"
        )));
    }
    let bits = bits / count;
    let mut registers = registers.iter().flatten();
    if let Some(other) = registers.find(|&&own| bits == 8 && words.register_bits(Some(own)) != 8) {
        return Err(words.refuse(format!(
            "has parts of 8 bits, and a register of {}",
            words.register_bits(Some(*other))
        )));
    }
    Ok(bits)
}

/// To a generic address, or from one with `.to`.
fn cvta(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let to = words.has("to");
    let window = words.needed("space", window)?;
    words.needed("size", |word| matches!(word, "u64" | "u32").then_some(()))?;
    words.compute(move |[a]| {
        if to {
            address::from_generic(window, a)
        } else {
            address::to_generic(window, a)
        }
    })
}

/// The rank of the CTA in whose shared memory an address is; one that names none is the CTA's own.
fn rank(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let shared = words.has("shared::cluster");
    words.needed("size", |word| matches!(word, "u64" | "u32").then_some(()))?;
    words.counted(&[2])?;
    Ok(Action::Compute(Compute {
        parts: 0,
        function: super::of_each_lane(move |&[a, own, ..]| {
            let place = if shared {
                a
            } else {
                address::from_generic(Window::Shared, a)
            };
            [address::rank(place).0.unwrap_or(own), 0, 0, 0]
        }),
        sources: vec![words.source(1)?, Source::Special(Special::ClusterCtarank)],
        destinations: vec![words.destination(0)?],
    }))
}

/// The address of the same place in another CTA of the cluster.
fn mapa(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let shared = words.has("shared::cluster");
    words.needed("size", |word| matches!(word, "u64" | "u32").then_some(()))?;
    words.counted(&[3])?;
    Ok(Action::Compute(Compute {
        parts: 0,
        function: super::of_each_lane(move |&[a, rank, ..]| {
            let place = if shared {
                a
            } else {
                address::from_generic(Window::Shared, a)
            };
            let mapped = address::in_cluster(place, rank);
            [
                if shared {
                    mapped
                } else {
                    address::to_generic(Window::Shared, mapped)
                },
                0,
                0,
                0,
            ]
        }),
        sources: vec![words.source(1)?, words.source(2)?],
        destinations: vec![words.destination(0)?],
    }))
}
