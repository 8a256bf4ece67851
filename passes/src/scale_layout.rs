//! `scale-layout`: quantised tensors get the order of block scales that the matrix unit which multiplies them reads.
//!
//! On Blackwell's data-centre chips that is `tiled_128x4`: there a product has whole tiles of scales copied, where of other
//! orders threads load the scales of each row. Codes and scales stay what they are, so that no number changes. A tensor
//! gets it where every use is a product that the matrix unit makes; the operands of a product have one order, so that one
//! that stays linear for another use keeps those linear that it is multiplied by.

use crate::manager::{OptionError, OptionValue, Pass, PassFailure, Report};
use crate::rebuild::{map_regions, push_like};
use tessera_ir::{Graph, Module, OpError, OpKind, ScaledType, ValueId};
use tessera_numerics::{Format, ScaleLayout};

/// Rows of a tile of scales.
const TILE_ROWS: usize = 128;

/// Bytes that rows of codes are multiples of where tensor maps copy them.
const COPIED_BYTES: usize = 16;

/// The pass `scale-layout`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayOutScales {
    /// The order of scales that the target's products of scaled tensors read best.
    pub products: ScaleLayout,
}

impl Pass for LayOutScales {
    fn name(&self) -> &'static str {
        "scale-layout"
    }

    fn summary(&self) -> &'static str {
        "gives quantised tensors that are only multiplied the order of block scales that products read"
    }

    fn options(&self) -> Vec<OptionValue> {
        vec![OptionValue {
            name: "products",
            summary: "the order of scales that products of scaled tensors read best: linear, tiled_128x4",
            value: self.products.name().to_owned(),
        }]
    }

    fn set_option(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        if name != "products" {
            return Err(OptionError::Unknown);
        }
        let named = ScaleLayout::ALL.into_iter().find(|l| l.name() == value);
        self.products = named.ok_or_else(|| OptionError::Value {
            expected: "linear or tiled_128x4",
            found: value.to_owned(),
        })?;
        Ok(())
    }

    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure> {
        let mut changed = 0;
        let mut result = Module::new(module.name.clone());
        for graph in module.graphs() {
            result.insert(match self.products {
                ScaleLayout::Linear => graph.clone(),
                ScaleLayout::Tiled128x4 => in_tiles(graph, &mut changed)?,
            });
        }
        report.count("tensors with tiles of scales", changed);
        Ok(result)
    }
}

fn in_tiles(graph: &Graph, changed: &mut usize) -> Result<Graph, OpError> {
    let is_tiled = tiled(graph);
    graph.rebuild(|new, operation, operands| {
        let mut kind = map_regions(&operation.op.kind, |region| in_tiles(region, changed))?;
        if let OpKind::Quantize { scaled_type, .. } = &mut kind
            && operation.results().all(|value| is_tiled[value.index()])
            && let Some(tiled) = in_tiles_of(scaled_type)
        {
            *scaled_type = tiled;
            *changed += 1;
        }
        push_like(new, operation, kind, operands)
    })
}

/// The same with its scales in tiles.
fn in_tiles_of(scaled: &ScaledType) -> Option<ScaledType> {
    let layout = ScaleLayout::Tiled128x4;
    let (shape, format) = (scaled.shape(), scaled.format());
    ScaledType::new(shape, format, scaled.axis(), scaled.blocks(), layout).ok()
}

/// Which values, by number, get their scales in tiles.
fn tiled(graph: &Graph) -> Vec<bool> {
    let mut is_tiled = vec![false; graph.value_count()];
    let mut products = Vec::new();
    for operation in graph.operations() {
        if let OpKind::Quantize { scaled_type, .. } = &operation.op.kind {
            for value in operation.results() {
                is_tiled[value.index()] = is_multiplied_as_it_lies(scaled_type);
            }
        }
        match &operation.op.kind {
            OpKind::ScaledDot {
                lhs_batching_dimensions,
                rhs_batching_dimensions,
                ..
            } => {
                let [lhs, rhs] = [operation.op.operands[0], operation.op.operands[1]];
                let begin_tiles = [
                    (lhs, lhs_batching_dimensions),
                    (rhs, rhs_batching_dimensions),
                ]
                .into_iter()
                .all(|(value, batching)| do_batches_begin_tiles(graph, value, batching));
                if begin_tiles {
                    products.push([lhs, rhs]);
                } else {
                    for value in [lhs, rhs] {
                        is_tiled[value.index()] = false;
                    }
                }
            }
            _ => {
                for value in &operation.op.operands {
                    is_tiled[value.index()] = false;
                }
            }
        }
    }
    for result in graph.results() {
        is_tiled[result.value.index()] = false;
    }
    // What stays linear keeps linear what it is multiplied by, and that in turn others.
    loop {
        let mut is_stable = true;
        for operands in &products {
            let own = operands.map(|value| is_tiled[value.index()]);
            if own[0] != own[1] {
                is_stable = false;
                for value in operands {
                    is_tiled[value.index()] = false;
                }
            }
        }
        if is_stable {
            return is_tiled;
        }
    }
}

/// Whether a tensor that is now linear is one of four bits whose rows tensor maps copy.
fn is_multiplied_as_it_lies(scaled: &ScaledType) -> bool {
    matches!(scaled.format(), Format::Nvfp4 | Format::Mxfp4)
        && scaled.layout() == ScaleLayout::Linear
        && scaled.row_bytes().is_multiple_of(COPIED_BYTES)
        && !scaled.shape().contains(&0)
}

/// Whether the rows of each product of a batch begin with a tile's.
fn do_batches_begin_tiles(graph: &Graph, value: ValueId, batching: &[usize]) -> bool {
    let Some(scaled) = graph.value_type(value).as_scaled() else {
        return false;
    };
    let batches: usize = batching.iter().map(|&d| scaled.shape()[d]).product();
    let is_first = batching.iter().enumerate().all(|(place, &d)| place == d);
    let rows = scaled.rows().checked_div(batches).unwrap_or(0);
    batches == 1 || is_first && rows.is_multiple_of(TILE_ROWS)
}
