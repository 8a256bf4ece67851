//! Bundles for a GPU: what validation takes and refuses, and who runs them.

use crate::sample::*;
use std::fs;
use tessera_numerics::ElementType::F32;
use tessera_runtime::bundle::{
    BundleWriter, Code, Family, Kernel, Manifest, Place, PtxKernel, Target, TensorMap, Work,
};
use tessera_runtime::{Bundle, Program};

fn kernel() -> PtxKernel {
    PtxKernel {
        entry: "negate".to_owned(),
        grid: [8, 1, 1],
        block: [128, 1, 1],
        cluster: [1; 3],
        shared_bytes: 0,
        workspace_bytes: 0,
        tile: None,
        resources: None,
        tensor_maps: Vec::new(),
    }
}

/// `input 0 = -input 0`, in place.
fn manifest(ptx: PtxKernel) -> Manifest {
    let vector = || ty(F32, [1000]);
    Manifest {
        target: Target {
            name: "sm_90a".to_owned(),
            architecture: "nvptx64".to_owned(),
            features: vec!["ptx80".to_owned()],
        },
        inputs: vec![input(None, vector(), Some(0))],
        results: vec![output(None, vector())],
        buffers: vec![
            buffer(vector(), Place::Input(0)),
            buffer(vector(), Place::Result(0)),
        ],
        kernels: vec![Kernel {
            name: "negate".to_owned(),
            family: Family::Loop,
            operands: vec![vector().into()],
            results: vec![vector().into()],
            work: Work::default(),
            code: Code::Ptx(ptx),
        }],
        schedule: vec![launch(0, [0], [1])],
        ..empty_manifest()
    }
}

/// Writes and opens a bundle; what is wrong with it, without its path.
fn write(manifest: Manifest, ptx: bool) -> Result<(Bundle, tempfile::TempDir), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step.tessera");
    let writer = BundleWriter::new(manifest);
    let writer = if ptx {
        writer.ptx("// kernels")
    } else {
        writer
    };
    let writer = writer.cubin(b"machine code".to_vec());
    writer.write(&path).map_err(|error| {
        let error = error.to_string();
        error.split_once("manifest.json: ").unwrap().1.to_owned()
    })?;
    Ok((Bundle::open(path).unwrap(), folder))
}

fn refusal(change: impl FnOnce(&mut PtxKernel)) -> String {
    let mut ptx = kernel();
    change(&mut ptx);
    write(manifest(ptx), true).expect_err("a refusal")
}

#[test]
fn it_reads_back() {
    let (bundle, _folder) = write(manifest(kernel()), true).unwrap();
    assert_eq!(bundle.manifest().kernels, manifest(kernel()).kernels);
    let files: Vec<_> = bundle.manifest().files.keys().collect();
    assert_eq!(files, ["kernels.cubin", "kernels.ptx"]);
    let text = fs::read_to_string(bundle.path().join("kernels.ptx")).unwrap();
    assert_eq!(text, "// kernels");
}

#[test]
fn the_cpu_does_not_run_it() {
    let (bundle, _folder) = write(manifest(kernel()), true).unwrap();
    let error = Program::load(&bundle).unwrap_err().to_string();
    let (_, message) = error.split_once("manifest.json: ").unwrap();
    assert_eq!(
        message,
        "made for sm_90a, which cpu does not run; expected the device emulator:sm_90a, or \
         cuda:N where GPU N is one"
    );
}

#[test]
fn kernels_without_their_text() {
    assert_eq!(
        write(manifest(kernel()), false).unwrap_err(),
        "kernels[0].ptx: expected the file kernels.ptx, found none"
    );
}

#[test]
fn code_of_another_kind_than_the_target() {
    let mut cpu = manifest(kernel());
    cpu.target = empty_manifest().target;
    assert_eq!(
        write(cpu, true).unwrap_err(),
        "kernels[0].code: expected a kernel of the CPU, for the target is cpu, found one in PTX"
    );
    let mut gpu = manifest(kernel());
    gpu.kernels.push(empty_manifest().kernels.remove(ADD));
    assert_eq!(
        write(gpu, true).unwrap_err(),
        "kernels[1].code: expected a kernel in PTX, for the target is sm_90a, found one of the CPU"
    );
}

#[test]
fn an_entry_that_is_no_name() {
    assert_eq!(
        refusal(|k| k.entry = "a$b".to_owned()),
        "kernels[0].ptx.entry: expected a C identifier, found \"a$b\""
    );
}

#[test]
fn grids_at_the_limits() {
    for grid in [[0, 1, 1], [(1 << 31) - 1, 65_535, 65_535]] {
        write(manifest(PtxKernel { grid, ..kernel() }), true).unwrap();
    }
    for grid in [[1 << 31, 1, 1], [1, 65_536, 1], [1, 1, 65_536]] {
        assert_eq!(
            refusal(|k| k.grid = grid),
            format!(
                "kernels[0].ptx.grid: expected at most [2147483647, 65535, 65535], found {grid:?}"
            )
        );
    }
}

#[test]
fn blocks_at_the_limits() {
    for block in [[1, 1, 1], [1024, 1, 1], [1, 1024, 1], [4, 4, 64]] {
        write(manifest(PtxKernel { block, ..kernel() }), true).unwrap();
    }
    for block in [[0, 1, 1], [1025, 1, 1], [1, 1, 65], [32, 33, 1]] {
        assert_eq!(
            refusal(|k| k.block = block),
            format!(
                "kernels[0].ptx.block: expected 1 to 1024 threads, at most [1024, 1024, 64], found {block:?}"
            )
        );
    }
}

#[test]
fn clusters_at_the_limits() {
    let grid = [32, 6, 1];
    for cluster in [[1, 1, 1], [16, 1, 1], [2, 3, 1]] {
        let kernel = PtxKernel {
            grid,
            cluster,
            ..kernel()
        };
        write(manifest(kernel), true).unwrap();
    }
    for cluster in [[0, 1, 1], [32, 1, 1], [3, 1, 1], [1, 4, 1]] {
        assert_eq!(
            refusal(|k| (k.grid, k.cluster) = (grid, cluster)),
            format!(
                "kernels[0].ptx.cluster: expected 1 to 16 CTAs that divide the grid, [32, 6, 1], found {cluster:?}"
            )
        );
    }
}

#[test]
fn memory_that_no_device_has() {
    assert_eq!(
        refusal(|k| k.shared_bytes = (227 << 10) + 1),
        "kernels[0].ptx.shared_bytes: expected at most 232448, found 232449"
    );
    assert_eq!(
        refusal(|k| k.workspace_bytes = 1 << 63),
        "kernels[0].ptx.workspace_bytes: expected a size that fits into the address space, \
         found 9223372036854775808"
    );
}

/// Of 10 rows of 400 bytes boxes of 4 by 128, swizzled.
fn map() -> TensorMap {
    TensorMap {
        buffer: 1,
        extents: vec![400, 10],
        strides: vec![400],
        box_extents: vec![128, 4],
        swizzle_bytes: 128,
    }
}

#[test]
fn tensor_maps_read_back() {
    let kernel = PtxKernel {
        tensor_maps: vec![map()],
        ..kernel()
    };
    let (bundle, _folder) = write(manifest(kernel.clone()), true).unwrap();
    assert_eq!(bundle.manifest().kernels[0].code, Code::Ptx(kernel));
}

#[test]
fn tensor_maps_that_the_driver_would_refuse() {
    let refusal = |change: fn(&mut TensorMap)| {
        let mut own = map();
        change(&mut own);
        let message = refusal(|k| k.tensor_maps = vec![own]);
        let prefix = "kernels[0].ptx.tensor_maps[0]";
        message.strip_prefix(prefix).unwrap().to_owned()
    };
    assert_eq!(
        refusal(|m| m.buffer = 2),
        ".buffer: expected one of 2, found 2"
    );
    assert_eq!(
        refusal(|m| m.strides.clear()),
        ": expected 1 to 5 extents, a stride fewer, as many extents of the box, found 2, 0 and 2"
    );
    assert_eq!(
        refusal(|m| m.strides = vec![392]),
        ".strides: expected multiples of 16 below 2^40, found [392]"
    );
    assert_eq!(
        refusal(|m| m.extents[0] = 0),
        ".extents: expected 1 to 4294967296, found [0, 10]"
    );
    let box_extents = ".box_extents: expected 1 to 256, of the innermost dimension a multiple of 16 no wider than the swizzle, \
                       found";
    for wrong in [[120, 4], [144, 4], [128, 257]] {
        let mut own = map();
        own.box_extents = wrong.to_vec();
        let message = super::ptx::refusal(|k| k.tensor_maps = vec![own]);
        assert!(
            message.ends_with(&format!("{box_extents} {wrong:?}")),
            "{message}"
        );
    }
    assert_eq!(
        refusal(|m| m.swizzle_bytes = 256),
        ".swizzle_bytes: expected 0, 32, 64 or 128, found 256"
    );
    // 4000 bytes have ten rows of 400, and no eleventh.
    assert_eq!(
        refusal(|m| m.extents[1] = 11),
        ".extents: expected places within the 4000 bytes of the buffer, found [400, 11] with strides of [400]"
    );
}
