//! Kernels of a GPU: what no device could launch.

use super::super::PTX_FILE;
use super::super::TensorMap;
use super::super::manifest::{Code, Kernel, PtxKernel};
use super::{Check, Checked, is_c_identifier};

/// The largest number of CTAs along x, y and z. (CUDA C++ Programming Guide, "Technical Specifications per Compute
/// Capability"; so are the limits below.)
const GRID: [u32; 3] = [(1 << 31) - 1, 65_535, 65_535];
/// The largest number of threads along x, y and z.
const BLOCK: [u32; 3] = [1024, 1024, 64];
/// The largest number of threads of a CTA.
const THREADS: u64 = 1024;
/// The largest number of CTAs of a cluster, where the kernel asks for more than the portable 8.
const CLUSTER: u64 = 16;
/// The most shared memory that a CTA can have on any architecture.
const SHARED_BYTES: u32 = 227 << 10;

impl Check<'_> {
    /// A GPU's bundle has a GPU's kernels, and no other bundle has any.
    pub(super) fn runs_on_the_target(&self, kernel: &Kernel, item: &str) -> Checked {
        let target = &self.manifest.target;
        let is_ptx = matches!(kernel.code, Code::Ptx(_));
        let expected = if target.is_gpu() {
            "a kernel in PTX"
        } else {
            "a kernel of the CPU"
        };
        self.ensure(
            is_ptx == target.is_gpu(),
            format!("{item}.code"),
            format!("{expected}, for the target is {}", target.name),
            if is_ptx {
                "one in PTX"
            } else {
                "one of the CPU"
            },
        )
    }

    pub(super) fn ptx(&self, kernel: &PtxKernel, of: &Kernel, item: &str) -> Checked {
        self.ensure(
            self.manifest.files.contains_key(PTX_FILE),
            item,
            format!("the file {PTX_FILE}"),
            "none",
        )?;
        self.ensure(
            is_c_identifier(&kernel.entry),
            format!("{item}.entry"),
            "a C identifier",
            format!("\"{}\"", kernel.entry),
        )?;
        let each = |found: [u32; 3], least: u32, most: [u32; 3]| {
            found
                .iter()
                .zip(most)
                .all(|(found, most)| (least..=most).contains(found))
        };
        let product = |extents: [u32; 3]| {
            extents
                .iter()
                .map(|&extent| u64::from(extent))
                .product::<u64>()
        };
        self.ensure(
            each(kernel.grid, 0, GRID),
            format!("{item}.grid"),
            format!("at most {GRID:?}"),
            format!("{:?}", kernel.grid),
        )?;
        self.ensure(
            each(kernel.block, 1, BLOCK) && product(kernel.block) <= THREADS,
            format!("{item}.block"),
            format!("1 to {THREADS} threads, at most {BLOCK:?}"),
            format!("{:?}", kernel.block),
        )?;
        let divides = kernel.grid.iter().zip(kernel.cluster);
        let divides = divides
            .into_iter()
            .all(|(grid, cluster)| cluster >= 1 && grid.is_multiple_of(cluster));
        self.ensure(
            divides && product(kernel.cluster) <= CLUSTER,
            format!("{item}.cluster"),
            format!(
                "1 to {CLUSTER} CTAs that divide the grid, {:?}",
                kernel.grid
            ),
            format!("{:?}", kernel.cluster),
        )?;
        self.ensure(
            kernel.shared_bytes <= SHARED_BYTES,
            format!("{item}.shared_bytes"),
            format!("at most {SHARED_BYTES}"),
            kernel.shared_bytes,
        )?;
        self.ensure(
            isize::try_from(kernel.workspace_bytes).is_ok(),
            format!("{item}.workspace_bytes"),
            "a size that fits into the address space",
            kernel.workspace_bytes,
        )?;
        for (number, map) in kernel.tensor_maps.iter().enumerate() {
            self.tensor_map(map, of, &format!("{item}.tensor_maps[{number}]"))?;
        }
        Ok(())
    }

    /// What the driver takes (CUDA Driver API, `cuTensorMapEncodeTiled`), within the buffer.
    fn tensor_map(&self, map: &TensorMap, kernel: &Kernel, item: &str) -> Checked {
        let buffers = kernel.operands.len() + kernel.results.len();
        self.ensure(
            map.buffer < buffers,
            format!("{item}.buffer"),
            format!("one of {buffers}"),
            map.buffer,
        )?;
        let rank = map.extents.len();
        let lengths = [map.strides.len() + 1, map.box_extents.len()];
        self.ensure(
            (1..=TensorMap::MOST_DIMENSIONS).contains(&rank) && lengths == [rank; 2],
            item,
            "1 to 5 extents, a stride fewer, as many extents of the box",
            format!(
                "{rank}, {} and {}",
                map.strides.len(),
                map.box_extents.len()
            ),
        )?;
        self.ensure(
            map.extents
                .iter()
                .all(|extent| (1..=1 << 32).contains(extent)),
            format!("{item}.extents"),
            "1 to 4294967296",
            format!("{:?}", map.extents),
        )?;
        let is_stride = |stride: &u64| stride.is_multiple_of(16) && *stride < 1 << 40;
        self.ensure(
            map.strides.iter().all(is_stride),
            format!("{item}.strides"),
            "multiples of 16 below 2^40",
            format!("{:?}", map.strides),
        )?;
        let width = map.box_extents[0];
        let is_box = map
            .box_extents
            .iter()
            .all(|extent| (1..=256).contains(extent));
        let span = map.swizzle_bytes;
        self.ensure(
            is_box && width.is_multiple_of(16) && (span == 0 || width <= span),
            format!("{item}.box_extents"),
            "1 to 256, of the innermost dimension a multiple of 16 no wider than the swizzle",
            format!("{:?}", map.box_extents),
        )?;
        self.ensure(
            matches!(span, 0 | 32 | 64 | 128),
            format!("{item}.swizzle_bytes"),
            "0, 32, 64 or 128",
            span,
        )?;
        let all = kernel.operands.iter().chain(&kernel.results);
        let bytes = all.skip(map.buffer).find_map(|buffer| buffer.bytes());
        let bytes = bytes.map_or(0, |bytes| bytes as u64);
        self.ensure(
            map.reach().is_some_and(|reach| reach <= bytes),
            format!("{item}.extents"),
            format!("places within the {bytes} bytes of the buffer"),
            format!("{:?} with strides of {:?}", map.extents, map.strides),
        )
    }
}
