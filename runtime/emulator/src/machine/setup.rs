//! What a launch needs before its first instruction: a shape that a device has, arguments, the module's variables.

use crate::launch::{Launch, LaunchError};
use crate::memory::{Bytes, Global};
use crate::program::{Formal, Program};
use crate::ptx::{Initializer, Literal, ScalarType};

/// Threads of a CTA, at most (CUDA C++ Programming Guide, "Compute capabilities").
const THREADS: u32 = 1024;
/// CTAs of a cluster, at most, where a kernel asks for more than every device has.
const CLUSTER: u32 = 16;

/// Bytes of shared memory that a kernel's own variables have, at most; what is more has to be dynamic. (CUDA C++ Programming
/// Guide, "Technical Specifications per Compute Capability", as the next.)
const STATIC_SHARED: u64 = 48 << 10;

/// Bytes of shared memory of a CTA, at most, on the architecture of a number; of one that is not known, as many as any has.
pub fn shared_memory_limit(architecture: u32) -> u64 {
    let kibibytes = match architecture {
        75 => 64,
        70 | 72 => 96,
        86 | 89 | 120 | 121 => 99,
        80 | 87 => 163,
        _ => 227,
    };
    kibibytes << 10
}

/// The first CTA of every cluster.
pub(super) fn clusters(launch: &Launch) -> Vec<[u32; 3]> {
    let [x, y, z] = launch.grid;
    let [i, j, k] = launch.cluster.map(|size| size as usize);
    (0..z)
        .step_by(k)
        .flat_map(|c| {
            (0..y)
                .step_by(j)
                .flat_map(move |b| (0..x).step_by(i).map(move |a| [a, b, c]))
        })
        .collect()
}

/// A CTA's shared memory is the kernel's variables, and behind them what the launch asks for.
fn check_shared(program: &Program, kernel: usize, launch: &Launch) -> Result<(), LaunchError> {
    let variables = program.functions[kernel].static_shared;
    let all = variables.saturating_add(launch.dynamic_shared);
    let limit = shared_memory_limit(program.architecture());
    let (what, most, found) = if variables > STATIC_SHARED {
        (
            "bytes of a kernel's shared variables",
            STATIC_SHARED,
            variables,
        )
    } else if all > limit {
        ("bytes of a CTA's shared memory", limit, all)
    } else {
        return Ok(());
    };
    Err(LaunchError::Shape {
        what,
        expected: format!("at most {most}"),
        found: found.to_string(),
    })
}

pub(super) fn check_shape(
    program: &Program,
    kernel: usize,
    launch: &Launch,
) -> Result<(), LaunchError> {
    let error = |what, expected: String, found: String| {
        Err(LaunchError::Shape {
            what,
            expected,
            found,
        })
    };
    let threads: u64 = launch.block.iter().map(|&size| u64::from(size)).product();
    if threads == 0 || threads > u64::from(THREADS) {
        return error(
            "threads of a CTA",
            format!("1 to {THREADS}"),
            threads.to_string(),
        );
    }
    if launch.grid.contains(&0) {
        return error(
            "the grid",
            "at least one CTA".into(),
            format!("{:?}", launch.grid),
        );
    }
    if launch.cluster.contains(&0)
        || (0..3).any(|i| !launch.grid[i].is_multiple_of(launch.cluster[i]))
    {
        return error(
            "the cluster",
            format!("a divisor of the grid {:?}", launch.grid),
            format!("{:?}", launch.cluster),
        );
    }
    if launch.cluster != [1; 3] && program.architecture() < 90 {
        return error(
            "the cluster",
            "one CTA, as the target has no clusters".into(),
            format!("{:?}", launch.cluster),
        );
    }
    if launch.cluster.iter().product::<u32>() > CLUSTER {
        return error(
            "CTAs of a cluster",
            format!("at most {CLUSTER}"),
            format!("{:?}", launch.cluster),
        );
    }
    check_shared(program, kernel, launch)?;
    let directives = &program.functions[kernel].directives;
    let three = |numbers: &[u64]| -> [u64; 3] {
        std::array::from_fn(|i| numbers.get(i).copied().unwrap_or(1))
    };
    for (name, numbers) in directives {
        let asked = three(numbers);
        let block = launch.block.map(u64::from);
        match &name[..] {
            "reqntid" if block != asked => {
                return error(
                    "the CTA",
                    format!("{asked:?} of .reqntid"),
                    format!("{block:?}"),
                );
            }
            "maxntid" if threads > asked.iter().product() => {
                return error(
                    "threads of a CTA",
                    format!("at most {asked:?} of .maxntid"),
                    threads.to_string(),
                );
            }
            "maxclusterrank" if u64::from(launch.cluster.iter().product::<u32>()) > asked[0] => {
                return error(
                    "CTAs of a cluster",
                    format!("at most {} of .maxclusterrank", asked[0]),
                    format!("{:?}", launch.cluster),
                );
            }
            "blocksareclusters" => {
                return error(
                    "the grid",
                    "one of CTAs".into(),
                    "one of clusters, by .blocksareclusters, which is not modelled".into(),
                );
            }
            "reqnctapercluster" if launch.cluster.map(u64::from) != asked => {
                return error(
                    "the cluster",
                    format!("{asked:?} of .reqnctapercluster"),
                    format!("{:?}", launch.cluster),
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// The arguments where the kernel's parameters lie.
pub(super) fn arguments(
    program: &Program,
    kernel: usize,
    launch: &Launch,
) -> Result<Bytes, LaunchError> {
    let function = &program.functions[kernel];
    let places: Vec<(u64, u64)> = function
        .parameters
        .iter()
        .map(|formal| match *formal {
            Formal::Memory { offset, bytes } => (offset, bytes),
            Formal::Register(_) => (0, 0),
        })
        .collect();
    let expected: Vec<u64> = places.iter().map(|&(_, bytes)| bytes).collect();
    let found: Vec<u64> = launch
        .arguments
        .iter()
        .map(|argument| argument.len() as u64)
        .collect();
    if expected != found {
        return Err(LaunchError::Arguments {
            kernel: launch.kernel.clone(),
            expected,
            found,
        });
    }
    let end = places.last().map_or(0, |&(offset, bytes)| offset + bytes);
    let mut memory = vec![0; end as usize];
    for (&(offset, bytes), argument) in places.iter().zip(&launch.arguments) {
        memory[offset as usize..(offset + bytes) as usize].copy_from_slice(argument);
    }
    Ok(Bytes::of(memory))
}

/// Puts the module's variables into global memory and gives their addresses.
pub(super) fn load(program: &Program, memory: &mut Global) -> Result<Vec<u64>, LaunchError> {
    // Variables that nothing is written to begin as zeros.
    let addresses: Vec<u64> = program
        .globals
        .iter()
        .map(|global| memory.push(Bytes::of(vec![0; global.bytes as usize]), global.alignment))
        .collect();
    for (global, &address) in program.globals.iter().zip(&addresses) {
        if let Some(initializer) = &global.initializer {
            let mut place = address;
            initialise(
                program,
                &addresses,
                memory,
                global.element,
                initializer,
                &mut place,
            )?;
        }
    }
    Ok(addresses)
}

fn initialise(
    program: &Program,
    addresses: &[u64],
    memory: &mut Global,
    element: ScalarType,
    initializer: &Initializer,
    place: &mut u64,
) -> Result<(), LaunchError> {
    let size = element.bytes();
    let value = match initializer {
        Initializer::List(list) => {
            return list
                .iter()
                .try_for_each(|one| initialise(program, addresses, memory, element, one, place));
        }
        Initializer::Literal(literal) => match *literal {
            Literal::Signed(value) => value as u64,
            Literal::Unsigned(value) => value,
            Literal::Single(bits) => u64::from(bits),
            Literal::Double(value) if element == ScalarType::F32 => {
                u64::from((value as f32).to_bits())
            }
            Literal::Double(value) => value.to_bits(),
        },
        Initializer::Address {
            name, offset, mask, ..
        } => {
            let address = program
                .address(name, addresses)
                .ok_or_else(|| LaunchError::Initializer { name: name.clone() })?;
            let address = address.wrapping_add_signed(*offset);
            match mask {
                // One byte of it, that which the mask names.
                Some(mask) if *mask != 0 => (address & mask) >> (mask.trailing_zeros() / 8 * 8),
                _ => address,
            }
        }
    };
    // A place inside of the variable, which was made of the initializer's size or a larger one.
    memory.write(*place, size.min(8) as usize, value, true);
    *place += size;
    Ok(())
}
