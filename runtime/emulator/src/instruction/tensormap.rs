//! Tensor maps that threads change: `tensormap.replace`, `tensormap.cp_fenceproxy` (PTX ISA 9.7.9.28, 9.7.13.17).

use super::words::Words;
use super::{Access, Action, Refusal, Source, Space, ThreadScope};
use crate::tensor_map::{Field, REPLACED, TENSOR_MAP_BYTES};

/// Tensor maps that threads change.
pub(crate) enum Tensormap {
    /// A field becomes a value.
    Replace {
        map: Access,
        field: Field,
        value: Source,
    },
    /// The map is copied from shared to global memory by a warp, and released to copies by it.
    CopyFence {
        to: Access,
        from: Access,
        scope: ThreadScope,
    },
}

/// What a tensor map's address is a multiple of.
pub(crate) const ALIGNMENT: u32 = 64;

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    let instruction = if words.has("cp_fenceproxy") {
        copy_fence(words)?
    } else {
        words.needed("operation", |word| (word == "replace").then_some(()))?;
        replace(words)?
    };
    Ok(Action::Tensormap(Box::new(instruction)))
}

fn replace(words: &mut Words<'_>) -> Result<Tensormap, Refusal> {
    words.has("tile");
    let (name, count, values) = words.needed("field", |word| {
        REPLACED.iter().copied().find(|(name, ..)| *name == word)
    })?;
    let space = words.choice(Space::from_name).unwrap_or(Space::Generic);
    words.has("b1024");
    words.choice(|word| matches!(word, "b32" | "b64").then_some(()));
    let is_of_several = count > 1;
    words.counted(&[2 + usize::from(is_of_several)])?;
    let which = if is_of_several {
        words.immediate(1)?
    } else {
        0
    };
    if which >= count as u64 {
        return Err(words.refuse(format!("has a .{name} of 0 to {}, not {which}", count - 1)));
    }
    let value = words.source(1 + usize::from(is_of_several))?;
    // The three that pack 4 and 6 bits came later than the others.
    let is_hopper = words.scope.target().starts_with("sm_90");
    let values = values.map(|values| match name {
        "elemtype" if is_hopper => values - 3,
        _ => values,
    });
    if let Some(values) = values {
        match value {
            Source::Value(value) if value < values => {}
            _ => {
                return Err(words.refuse(format!(
                    "needs a number from 0 to {} as its .{name}",
                    values - 1
                )));
            }
        }
    }
    let field = Field::from_name(name, which as usize)
        .ok_or_else(|| words.refuse("has no field that is modelled"))?;
    Ok(Tensormap::Replace {
        map: access(words, 0, space)?,
        field,
        value,
    })
}

fn copy_fence(words: &mut Words<'_>) -> Result<Tensormap, Refusal> {
    for word in [
        "global",
        "shared::cta",
        "tensormap::generic",
        "release",
        "sync",
        "aligned",
    ] {
        words.has(word);
    }
    let scope = words.needed("scope", ThreadScope::from_name)?;
    words.counted(&[3])?;
    Ok(Tensormap::CopyFence {
        to: map(words, 0, Space::Global, 2)?,
        from: map(words, 1, Space::Shared, 2)?,
        scope,
    })
}

fn access(words: &Words<'_>, place: usize, space: Space) -> Result<Access, Refusal> {
    Ok(Access {
        space,
        location: words.location(place)?,
        bytes: TENSOR_MAP_BYTES as u32,
    })
}

/// A map of which the number of bytes is named too.
pub(super) fn map(
    words: &Words<'_>,
    place: usize,
    space: Space,
    size: usize,
) -> Result<Access, Refusal> {
    if words.immediate(size)? != TENSOR_MAP_BYTES as u64 {
        return Err(words.refuse(format!("is of {TENSOR_MAP_BYTES} bytes")));
    }
    access(words, place, space)
}

#[cfg(test)]
mod tests {
    use super::super::inventory::accepted;

    #[test]
    fn what_the_assembler_refuses() {
        let statements = [
            "tensormap.replace.tile.rank.shared.b1024.b32 [%at], 1;",
            "tensormap.replace.tile.box_dim.global.b1024.b32 [%at], %a32, %b32;",
            "tensormap.replace.tile.box_dim.global.b1024.b32 [%at], 5, %b32;",
            "tensormap.replace.tile.global_dim.global.b1024.b64 [%at], 4, %b64;",
            "tensormap.replace.tile.elemtype.global.b1024.b32 [%at], %a32;",
            "tensormap.replace.tile.elemtype.global.b1024.b32 [%at], 16;",
            "tensormap.replace.tile.interleave_layout.global.b1024.b32 [%at], 3;",
            "tensormap.replace.tile.swizzle_mode.global.b1024.b32 [%at], 4;",
            "tensormap.replace.tile.swizzle_atomicity.global.b1024.b32 [%at], 4;",
            "tensormap.replace.tile.fill_mode.global.b1024.b32 [%at], 2;",
            "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%at], [%at], 64;",
            "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.acquire.gpu.sync.aligned [%at], [%at], 128;",
            "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.aligned [%at], [%at], 128;",
            "fence.proxy.tensormap::generic.acquire.gpu [%at], 64;",
            "fence.proxy.tensormap::generic.release.gpu [%at], 128;",
            "fence.proxy.tensormap::generic.acquire.gpu;",
        ];
        let statements: Vec<String> = statements.iter().map(|&own| own.into()).collect();
        assert_eq!(accepted(&statements), [false; 16]);
    }
}
