//! Boxes of tensors: loads, stores and reductions by tensor maps.

use super::super::asynchronous::{Combine, Moves, Operation, Spot, boxes};
use super::super::context::{Context, Fault};
use super::super::frame::lanes_of;
use super::copy::beyond;
use crate::finding::FindingKind;
use crate::instruction::{
    Access, Location, Space, TENSORMAP_ALIGNMENT, Target, Tensor, tensor_reduction,
};
use crate::memory::address::Window;
use crate::tensor_map::{TENSOR_MAP_BYTES, TensorMap};
use std::sync::Arc;

/// What a box's place in shared memory is a multiple of.
const ALIGNMENT: u32 = 128;

impl Context<'_> {
    pub(super) fn copy_tensor(
        &mut self,
        frame: usize,
        active: u32,
        tensor: &Tensor,
    ) -> Result<(), Fault> {
        let maps = self.maps(frame, active, &tensor.map)?;
        let mut coordinates = Vec::new();
        for source in &tensor.coordinates {
            let values = self.values(frame, source);
            self.need_written(&values, active, "a tensor's coordinate");
            coordinates.push(values);
        }
        let places = match &tensor.shared {
            Some(access) => {
                let what = if tensor.loads {
                    "copies to"
                } else {
                    "copies from"
                };
                Some(self.places(frame, active, access, ALIGNMENT, what)?)
            }
            None => None,
        };
        for (lane, map) in lanes_of(active).zip(maps) {
            let own = lane as usize;
            let at: Vec<i64> = coordinates
                .iter()
                .map(|values| i64::from(values.values[own] as i32))
                .collect();
            check(&map, &at, tensor).map_err(|reason| refuse(reason, lane))?;
            let Some(places) = &places else {
                continue;
            };
            let bytes = map.box_bytes();
            let (window, place) = places.of(lane);
            let Some(shared @ Spot::Shared(..)) = self.existing(window, place, bytes) else {
                return Err(beyond("uses the box", place, bytes, lane));
            };
            let combine = match tensor.reduction {
                None => None,
                Some(operation) => Some(
                    combine(operation, &map, self.program.is_ring).ok_or_else(|| {
                        let element = map.element;
                        refuse(
                            format!("a reduction .{operation} of {element:?} is not modelled"),
                            lane,
                        )
                    })?,
                ),
            };
            let make = |shared: Spot| -> Box<dyn Operation> {
                let moves = boxes::moves(&map, &at, shared, tensor.loads);
                Box::new(Moves::new(moves, combine.clone(), true))
            };
            self.begin_bulk(frame, lane, &tensor.target, shared, bytes as u32, &make)?;
        }
        Ok(())
    }

    /// The tensor map of each active lane.
    fn maps(
        &mut self,
        frame: usize,
        active: u32,
        location: &Location,
    ) -> Result<Vec<TensorMap>, Fault> {
        let access = Access {
            space: Space::Generic,
            location: location.clone(),
            bytes: TENSOR_MAP_BYTES as u32,
        };
        let what = "reads a tensor map of";
        let places = self.places(frame, active, &access, TENSORMAP_ALIGNMENT, what)?;
        let mut maps = Vec::new();
        for lane in lanes_of(active) {
            let map = self.map_bytes(frame, lane, &places)?;
            if let (Window::Global, place) = places.of(lane) {
                self.reads_map(lane, place);
            }
            if map.written.contains(&false) {
                self.report_unwritten(1 << lane, "part of a tensor map");
            }
            let decoded = TensorMap::decode(&map.values);
            maps.push(
                decoded.map_err(|error| refuse(format!("a tensor copy's map: {error}"), lane))?,
            );
        }
        Ok(maps)
    }
}

/// That an instruction can be done with a map and coordinates.
fn check(map: &TensorMap, at: &[i64], tensor: &Tensor) -> Result<(), String> {
    if map.dimensions.len() != at.len() {
        return Err(format!(
            "a copy of a tensor of {} dimensions has a map of {}",
            at.len(),
            map.dimensions.len()
        ));
    }
    if map.element.has_gaps() && !tensor.loads && tensor.shared.is_some() {
        return Err(format!("a tensor of {:?} can only be loaded", map.element));
    }
    let multiple = match map.element {
        element if element.has_gaps() => 128,
        element if element.bits() == 4 => 2,
        _ => 1,
    };
    if at[0] % multiple != 0 {
        return Err(format!(
            "the first coordinate of a tensor of {:?} is a multiple of {multiple}, not {}",
            map.element, at[0]
        ));
    }
    if tensor.loads && matches!(tensor.target, Target::Group) && tensor.shared.is_some() {
        return Err("a load of a tensor has no mbarrier".into());
    }
    Ok(())
}

fn combine(operation: &str, map: &TensorMap, is_ring: bool) -> Option<Combine> {
    Some(Combine {
        function: Arc::new(tensor_reduction(operation, map.element, is_ring)?),
        bytes: map.element.bits() as u32 / 8,
    })
}

fn refuse(reason: impl Into<String>, lane: u32) -> Fault {
    Fault {
        kind: FindingKind::Refused {
            reason: reason.into(),
        },
        lane,
    }
}
