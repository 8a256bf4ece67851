//! Tensor maps as CUDA's driver makes them.

use crate::bundle::TensorMap;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys;

/// The tensor map of a buffer that lies at an address.
pub(super) fn tensor_map(map: &TensorMap, address: u64) -> Result<sys::CUtensorMap, DriverError> {
    let mut made = sys::CUtensorMap { opaque: [0; 16] };
    let steps = [1; TensorMap::MOST_DIMENSIONS];
    let swizzle = match map.swizzle_bytes {
        32 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_32B,
        64 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_64B,
        128 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
        _ => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
    };
    // SAFETY: validation has found as many strides and extents of the box as the rank asks for, which is no more than
    // `steps` has. The address is only written down.
    let done = unsafe {
        sys::cuTensorMapEncodeTiled(
            &raw mut made,
            sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_UINT8,
            map.extents.len() as u32,
            address as *mut std::ffi::c_void,
            map.extents.as_ptr(),
            map.strides.as_ptr(),
            map.box_extents.as_ptr(),
            steps.as_ptr(),
            sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            swizzle,
            sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    };
    done.result().map(|()| made)
}
