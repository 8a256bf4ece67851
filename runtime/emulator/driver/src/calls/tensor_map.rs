//! Tensor maps.

use crate::driver::{call, put};
use crate::status::{ERROR_INVALID_VALUE, Status};
use std::ffi::{c_int, c_uint, c_void};
use tessera_emulator::{Fill, Swizzle, TENSOR_MAP_BYTES, TensorElement, TensorMap};

/// The elements in the order of `CUtensorMapDataType`. Those that convert while they copy are not modelled.
const ELEMENTS: [Option<TensorElement>; 16] = [
    Some(TensorElement::U8),
    Some(TensorElement::U16),
    Some(TensorElement::U32),
    Some(TensorElement::S32),
    Some(TensorElement::U64),
    Some(TensorElement::S64),
    Some(TensorElement::F16),
    Some(TensorElement::F32),
    Some(TensorElement::F64),
    Some(TensorElement::Bf16),
    None,
    None,
    None,
    Some(TensorElement::U4Align8),
    Some(TensorElement::U4Align16),
    Some(TensorElement::U6Align16),
];

/// `cuTensorMapEncodeTiled`: without interleaving, and with every element of the box.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuTensorMapEncodeTiled(
    map: *mut [u8; TENSOR_MAP_BYTES],
    element: c_int,
    rank: c_uint,
    address: *mut c_void,
    dimensions: *const u64,
    strides: *const u64,
    box_dimensions: *const u32,
    element_strides: *const u32,
    interleave: c_int,
    swizzle: c_int,
    _promotion: c_int,
    fill: c_int,
) -> Status {
    call(|_| {
        let rank = rank as usize;
        if !(1..=5).contains(&rank)
            || [
                dimensions.is_null(),
                box_dimensions.is_null(),
                element_strides.is_null(),
            ]
            .contains(&true)
            || strides.is_null() && rank > 1
            || interleave != 0
        {
            return Err(ERROR_INVALID_VALUE);
        }
        // SAFETY: each has as many numbers as the rank says, the strides one less.
        let (dimensions, box_dimensions, element_strides, strides) = unsafe {
            (
                std::slice::from_raw_parts(dimensions, rank),
                std::slice::from_raw_parts(box_dimensions, rank),
                std::slice::from_raw_parts(element_strides, rank),
                match rank {
                    1 => &[],
                    _ => std::slice::from_raw_parts(strides, rank - 1),
                },
            )
        };
        let by_number = |number: c_int| usize::try_from(number).ok();
        let element = by_number(element).and_then(|number| *ELEMENTS.get(number)?);
        let swizzle = by_number(swizzle).and_then(|number| Swizzle::ALL.get(number));
        let (Some(element), Some(&swizzle)) = (element, swizzle) else {
            return Err(ERROR_INVALID_VALUE);
        };
        if element_strides.iter().any(|&stride| stride != 1) {
            return Err(ERROR_INVALID_VALUE);
        }
        let made = TensorMap {
            element,
            address: address.addr() as u64,
            dimensions: dimensions.to_vec(),
            strides: strides.to_vec(),
            box_dimensions: box_dimensions.to_vec(),
            swizzle,
            fill: if fill == 0 { Fill::Zero } else { Fill::Nan },
        };
        let bytes = made.encode().map_err(|error| {
            eprintln!("a tensor map: {error}");
            ERROR_INVALID_VALUE
        })?;
        // SAFETY: this module's.
        unsafe { put(map, bytes) }
    })
}
