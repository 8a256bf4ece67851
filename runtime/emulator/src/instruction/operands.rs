//! Operands resolved: where a value comes from, where a result goes.

use crate::program::{Register, Scope, Symbol};
use crate::ptx::{Literal, Operand};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// A register.
    Register(Register),
    /// A value that every lane has: a number, a place in shared or parameter memory.
    Value(u64),
    /// A number written in double precision: its bits depend on the instruction's type.
    Double(f64),
    /// A special register.
    Special(Special),
    /// The address of a variable in global or constant memory, by its number, plus bytes.
    Global(usize, i64),
    /// The address of a place in the function's own local memory.
    Local(u64),
    /// A predicate's opposite.
    Not(Register),
}

/// A special register (PTX ISA chapter 10); of those with components, the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    Clusterid(u8),
    Nclusterid(u8),
    ClusterCtaid(u8),
    ClusterNctaid(u8),
    ClusterCtarank,
    ClusterNctarank,
    IsExplicitCluster,
    Laneid,
    Warpid,
    Nwarpid,
    Smid,
    Nsmid,
    Gridid,
    LanemaskEq,
    LanemaskLe,
    LanemaskLt,
    LanemaskGe,
    LanemaskGt,
    Clock,
    ClockHigh,
    Clock64,
    Globaltimer,
    GlobaltimerLow,
    GlobaltimerHigh,
    DynamicSharedSize,
    TotalSharedSize,
    /// `%envreg`, which a driver may give a meaning, and the graph that a kernel is launched by: none.
    Nothing,
}

impl Special {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "%cluster_ctarank" => Self::ClusterCtarank,
            "%cluster_nctarank" => Self::ClusterNctarank,
            "%is_explicit_cluster" => Self::IsExplicitCluster,
            "%laneid" => Self::Laneid,
            "%warpid" => Self::Warpid,
            "%nwarpid" => Self::Nwarpid,
            "%smid" => Self::Smid,
            "%nsmid" => Self::Nsmid,
            "%gridid" => Self::Gridid,
            "%lanemask_eq" => Self::LanemaskEq,
            "%lanemask_le" => Self::LanemaskLe,
            "%lanemask_lt" => Self::LanemaskLt,
            "%lanemask_ge" => Self::LanemaskGe,
            "%lanemask_gt" => Self::LanemaskGt,
            "%clock" => Self::Clock,
            "%clock_hi" => Self::ClockHigh,
            "%clock64" => Self::Clock64,
            "%globaltimer" => Self::Globaltimer,
            "%globaltimer_lo" => Self::GlobaltimerLow,
            "%globaltimer_hi" => Self::GlobaltimerHigh,
            "%dynamic_smem_size" => Self::DynamicSharedSize,
            // The system keeps none of it for itself here.
            "%total_smem_size" | "%aggr_smem_size" => Self::TotalSharedSize,
            "%current_graph_exec" => Self::Nothing,
            _ if is_environment(name) => Self::Nothing,
            _ => return None,
        })
    }

    fn from_component(name: &str, component: u8) -> Option<Self> {
        Some(match name {
            "%tid" => Self::Tid(component),
            "%ntid" => Self::Ntid(component),
            "%ctaid" => Self::Ctaid(component),
            "%nctaid" => Self::Nctaid(component),
            "%clusterid" => Self::Clusterid(component),
            "%nclusterid" => Self::Nclusterid(component),
            "%cluster_ctaid" => Self::ClusterCtaid(component),
            "%cluster_nctaid" => Self::ClusterNctaid(component),
            _ => return None,
        })
    }
}

/// `%envreg0` to `%envreg31`
fn is_environment(name: &str) -> bool {
    let number = name.strip_prefix("%envreg");
    number.is_some_and(|number| (0..32).any(|own| own.to_string() == number))
}

/// Registers that the ISA has beside those of [`Special`], by how their names begin: what reads one is refused when it is reached.
const OTHERS: [&str; 2] = ["%pm", "%reserved_smem_"];

/// Whether a name is that of a special register.
pub(crate) fn is_special_register(name: &str) -> bool {
    Special::from_name(name).is_some()
        || Special::from_component(name, 0).is_some()
        || OTHERS.iter().any(|begins| name.starts_with(begins))
}

/// A place in memory that an instruction names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Location {
    pub base: Source,
    pub offset: i64,
    /// Whether the base is a variable of parameter memory, so that its place is one of the function's own.
    pub is_parameter: bool,
}

pub(super) fn source(scope: &Scope<'_>, operand: &Operand) -> Result<Source, String> {
    match operand {
        Operand::Name(name) => match scope.find(name) {
            Some(Symbol::Register { first, count: 1 }) => Ok(Source::Register(first)),
            Some(Symbol::Register { .. }) => {
                Err(format!("takes one value, and {name} has several"))
            }
            Some(symbol) => address(symbol, 0, name),
            None => Special::from_name(name)
                .map(Source::Special)
                .ok_or_else(|| unknown(name)),
        },
        Operand::Component(name, component) => match scope.find(name) {
            Some(Symbol::Register { first, count }) if u32::from(*component) < count => {
                Ok(Source::Register(Register(first.0 + u32::from(*component))))
            }
            Some(_) => Err(format!("names an element that {name} does not have")),
            None => Special::from_component(name, *component)
                .map(Source::Special)
                .ok_or_else(|| unknown(name)),
        },
        Operand::Offset(name, offset) => match scope.find(name) {
            Some(symbol) => address(symbol, *offset, name),
            None => Err(unknown(name)),
        },
        Operand::Literal(literal) => Ok(match *literal {
            Literal::Signed(value) => Source::Value(value as u64),
            Literal::Unsigned(value) => Source::Value(value),
            Literal::Single(bits) => Source::Value(u64::from(bits)),
            Literal::Double(value) => Source::Double(value),
        }),
        Operand::Not(name) => match scope.find(name) {
            Some(Symbol::Register { first, count: 1 }) => Ok(Source::Not(first)),
            _ => Err(unknown(name)),
        },
        Operand::Negative(name) => Err(format!("has the operand -{name}, which is not modelled")),
        Operand::Sink => Err("reads _, which is a result that nobody wants".into()),
        Operand::Pair(..) | Operand::Address(_) | Operand::Vector(_) | Operand::List(_) => {
            Err("has an operand of a kind that is no value".into())
        }
    }
}

/// The values of a vector register, or one value.
pub(super) fn sources(scope: &Scope<'_>, operand: &Operand) -> Result<Vec<Source>, String> {
    if let Operand::Name(name) = operand
        && let Some(Symbol::Register { first, count }) = scope.find(name)
    {
        return Ok((0..count)
            .map(|i| Source::Register(Register(first.0 + i)))
            .collect());
    }
    Ok(vec![source(scope, operand)?])
}

pub(super) fn destination(
    scope: &Scope<'_>,
    operand: &Operand,
) -> Result<Option<Register>, String> {
    if *operand == Operand::Sink {
        return Ok(None);
    }
    match source(scope, operand)? {
        Source::Register(register) => Ok(Some(register)),
        _ => Err("writes an operand that is no register".into()),
    }
}

/// The registers of a vector register, or one.
pub(super) fn destinations(
    scope: &Scope<'_>,
    operand: &Operand,
) -> Result<Vec<Option<Register>>, String> {
    if *operand == Operand::Sink {
        return Ok(vec![None]);
    }
    sources(scope, operand)?
        .into_iter()
        .map(|source| match source {
            Source::Register(register) => Ok(Some(register)),
            _ => Err("writes an operand that is no register".into()),
        })
        .collect()
}

/// An address and the coordinates behind it.
pub(super) fn tensor(
    scope: &Scope<'_>,
    operand: &Operand,
) -> Result<(Location, Vec<Source>), String> {
    let Operand::Address(address) = operand else {
        return Err("needs a tensor map and coordinates in brackets".into());
    };
    let mut plain = address.clone();
    let coordinates = std::mem::take(&mut plain.coordinates);
    let [Operand::Vector(coordinates)] = &coordinates[..] else {
        return Err("needs coordinates in braces".into());
    };
    let coordinates = coordinates.iter().map(|one| source(scope, one));
    Ok((
        location(scope, &Operand::Address(plain))?,
        coordinates.collect::<Result<_, _>>()?,
    ))
}

pub(super) fn location(scope: &Scope<'_>, operand: &Operand) -> Result<Location, String> {
    let Operand::Address(address) = operand else {
        return Err("needs an address in brackets".into());
    };
    if !address.coordinates.is_empty() {
        return Err("has coordinates in its address, which is not modelled".into());
    }
    let is_parameter = match &*address.base {
        Operand::Name(name) => matches!(scope.find(name), Some(Symbol::Parameter { .. })),
        _ => false,
    };
    Ok(Location {
        base: source(scope, &address.base)?,
        offset: address.offset,
        is_parameter,
    })
}

/// The address of a symbol as a value.
fn address(symbol: Symbol, offset: i64, name: &str) -> Result<Source, String> {
    Ok(match symbol {
        Symbol::Shared { offset: place } | Symbol::Parameter { offset: place, .. } => {
            Source::Value(place.wrapping_add_signed(offset))
        }
        Symbol::Local { offset: place } => Source::Local(place.wrapping_add_signed(offset)),
        Symbol::Global { index } => Source::Global(index, offset),
        Symbol::Function { index } => Source::Value(index as u64 + 1),
        Symbol::Register { .. } | Symbol::Label { .. } | Symbol::Targets(_) | Symbol::Prototype => {
            return Err(format!("reads {name}, which is no value"));
        }
    })
}

fn unknown(name: &str) -> String {
    if OTHERS.iter().any(|begins| name.starts_with(begins)) {
        return format!("reads {name}, which is not modelled");
    }
    format!("names {name}, which is not declared")
}
