//! What will become of each tensor of a checkpoint, decided before anything is written.

use super::description::Words;
use super::{Checkpoint, Description, Entry, METADATA_KEY, Part, Selection, SourceElement, recipe};
use crate::Failure;
use std::collections::{BTreeMap, HashSet};
use tessera_numerics::{Quantization, RandomStream, ScaleLayout, ScaledType};
use tessera_passes::linears::{Role, Side};
use tessera_passes::recipes::{Recipe, Scaling};

/// How tensors are quantised.
#[derive(Clone, Debug)]
pub enum Way {
    /// All alike.
    Scaling(Scaling),
    /// As a recipe has weights in the forward product; what it keeps is copied.
    Recipe(Box<Recipe>),
}

/// What is to be done with a checkpoint.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How its tensors are quantised.
    pub way: Way,
    /// The dimension along which blocks run; negative ones count from the end.
    pub axis: isize,
    /// The order of block scales.
    pub layout: ScaleLayout,
    /// What random roundings are drawn from; every tensor has a stream of its own.
    pub seed: u64,
    /// The tensors to quantise.
    pub selection: Selection,
}

/// Every tensor of a checkpoint and what becomes of it.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The tensors in the order of counting.
    pub tensors: Vec<(Entry<'a>, Action)>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// What becomes of a tensor.
#[derive(Clone, Debug)]
pub enum Action {
    /// It is written as it is.
    Copy(CopyReason),
    /// It is quantised.
    Quantize(Description),
}

/// Why a tensor is copied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum CopyReason {
    /// It has fewer than two dimensions.
    #[error("fewer than two dimensions")]
    Rank,
    /// Its elements are not of a type that is quantised.
    #[error("elements of type {0}; f32, bf16 and f16 are quantised")]
    Element(String),
    /// It has no elements.
    #[error("no elements")]
    Empty,
    /// The user asks for others.
    #[error("not among --tensors")]
    NotAsked,
    /// A recipe keeps it.
    #[error("kept by the recipe: {0}")]
    Kept(String),
}

impl<'a> Plan<'a> {
    /// The plan for a file.
    ///
    /// # Errors
    /// A tensor that is asked for by name cannot be quantised, the axis is none of a tensor's dimensions, the recipe does
    /// with weights what a file cannot hold, or two tensors of the result would have one name.
    pub fn new(checkpoint: &'a Checkpoint, settings: &Settings) -> Result<Self, Failure> {
        settings.selection.entries(checkpoint)?;
        let failed = |message: String| Failure::in_file(&checkpoint.name(), message);
        let mut tensors = Vec::new();
        for entry in checkpoint.entries() {
            let action = action(&entry, settings).map_err(failed)?;
            tensors.push((entry, action));
        }
        let mut names = HashSet::new();
        for (entry, action) in &tensors {
            for name in action.names(entry.name) {
                if !names.insert(name.clone()) {
                    let message = format!("the result would have two tensors by the name '{name}'");
                    return Err(failed(message));
                }
            }
        }
        let mut metadata = checkpoint.metadata();
        let described = describe(metadata.get(METADATA_KEY), &tensors).map_err(failed)?;
        metadata.insert(METADATA_KEY.to_owned(), described);
        Ok(Self { tensors, metadata })
    }

    /// The tensors that are quantised.
    pub fn quantized(&self) -> impl Iterator<Item = (&Entry<'a>, &Description)> {
        self.tensors
            .iter()
            .filter_map(|(entry, action)| match action {
                Action::Copy(_) => None,
                Action::Quantize(description) => Some((entry, description)),
            })
    }

    /// The tensors that are copied, by reason.
    pub fn copied(&self) -> BTreeMap<&CopyReason, Vec<&'a str>> {
        let mut copied: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (entry, action) in &self.tensors {
            if let Action::Copy(reason) = action {
                copied.entry(reason).or_default().push(entry.name);
            }
        }
        copied
    }
}

impl Action {
    /// The names of the tensors that come of a tensor.
    fn names(&self, name: &str) -> Vec<String> {
        match self {
            Self::Copy(_) => vec![name.to_owned()],
            Self::Quantize(description) => {
                let parts = description.parts();
                parts.map(|part: Part| part.name_for(name)).collect()
            }
        }
    }
}

fn action(entry: &Entry<'_>, settings: &Settings) -> Result<Action, String> {
    let name = entry.name;
    if !settings.selection.includes(name) {
        return Ok(Action::Copy(CopyReason::NotAsked));
    }
    let element = match element_of(entry) {
        Ok(element) => element,
        Err(reason) if settings.selection.names(name) => {
            return Err(format!("tensor '{name}' cannot be quantised: {reason}"));
        }
        Err(reason) => return Ok(Action::Copy(reason)),
    };
    let axis = axis_of(entry, settings.axis)?;
    let scaling = match &settings.way {
        Way::Scaling(scaling) => *scaling,
        Way::Recipe(recipe) => match scaling_of(recipe, entry, axis)? {
            Ok(scaling) => scaling,
            Err(reason) => return Ok(Action::Copy(CopyReason::Kept(reason))),
        },
    };
    let in_tensor = |error: &dyn std::fmt::Display| format!("tensor '{name}': {error}");
    let scaled_type = ScaledType::new(
        entry.shape,
        scaling.format(),
        axis,
        scaling.blocks(),
        settings.layout,
    )
    .map_err(|error| in_tensor(&error))?;
    let quantization = Quantization::new(scaled_type, scaling.rule(), scaling.rounding())
        .map_err(|error| in_tensor(&error))?;
    let stream = scaling.rounding().is_random().then_some(RandomStream {
        seed: settings.seed,
        step: 0,
        // Files of more tensors than u32 counts do not exist: a header is at most 100 MB.
        site: entry.index as u32,
    });
    Ok(Action::Quantize(Description {
        element,
        quantization,
        stream,
    }))
}

/// The tensor's element type, if it can be quantised.
pub(crate) fn element_of(entry: &Entry<'_>) -> Result<SourceElement, CopyReason> {
    let element = SourceElement::of(entry.dtype);
    let element = element.ok_or_else(|| CopyReason::Element(entry.dtype.to_string()))?;
    if entry.shape.len() < 2 {
        Err(CopyReason::Rank)
    } else if entry.bytes.is_empty() {
        Err(CopyReason::Empty)
    } else {
        Ok(element)
    }
}

/// The axis counted from the front.
pub(crate) fn axis_of(entry: &Entry<'_>, axis: isize) -> Result<usize, String> {
    let rank = entry.shape.len();
    let from_front = match axis {
        0.. => Some(axis as usize),
        _ => rank.checked_sub(axis.unsigned_abs()),
    };
    from_front.filter(|&own| own < rank).ok_or_else(|| {
        let (name, last) = (entry.name, rank - 1);
        format!(
            "tensor '{name}' of {rank} dimensions has no axis {axis}: expected 0 to {last}, or -{rank} to -1 from the \
             end"
        )
    })
}

/// How the recipe quantises the weight, or why it does not.
fn scaling_of(
    recipe: &Recipe,
    entry: &Entry<'_>,
    axis: usize,
) -> Result<Result<Scaling, String>, String> {
    let columns = entry.shape[axis];
    let rows = entry.shape.iter().product::<usize>() / columns.max(1);
    let product = match recipe::product_for(recipe, entry.name, rows.min(columns), Role::Forward) {
        Ok(product) => product,
        Err(reason) => return Ok(Err(reason.to_string())),
    };
    let weight = product.operand(Side::Weight);
    let scaling = weight.and_then(|weight| weight.precision().scaling().copied());
    let Some(scaling) = scaling else {
        return Ok(Err("weights are not quantised".to_owned()));
    };
    let own = recipe.name();
    let more = if weight.is_some_and(|weight| weight.spectral().is_some()) {
        Some("takes singular directions out of weights")
    } else if product.hadamard().is_some() {
        Some("rotates weights together with activations")
    } else {
        None
    };
    match more {
        Some(more) => Err(format!(
            "recipe '{own}' {more}, which is the work of a step: a file holds one scaled tensor for a weight"
        )),
        None => Ok(Ok(scaling)),
    }
}

/// The descriptions of this plan's tensors beside those that the file has already.
fn describe(before: Option<&String>, tensors: &[(Entry<'_>, Action)]) -> Result<String, String> {
    let mut all = match before {
        Some(text) => read_words(text)?,
        None => BTreeMap::new(),
    };
    for (entry, action) in tensors {
        if let Action::Quantize(description) = action {
            all.insert(entry.name.to_owned(), description.to_words());
        }
    }
    serde_json::to_string(&all).map_err(|error| error.to_string())
}

/// The descriptions that a header's metadata hold.
pub(super) fn read_words(text: &str) -> Result<BTreeMap<String, Words>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("malformed metadata '{METADATA_KEY}': {error}"))
}
