//! `tessera emulate`.

use super::{Outcome, tessera};
use std::path::{Path, PathBuf};
use tessera_numerics::Tensor;
use tessera_runtime::tensors;

/// Kernels that nvcc compiled, the emulator's own fixture.
fn basics() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/emulator/tests/kernels/basics.ptx")
}

fn emulate(kernel: &Path, flags: &[&str]) -> Outcome {
    let mut arguments = vec!["emulate".to_owned(), kernel.display().to_string()];
    arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
    tessera(arguments)
}

/// `add(x, y, z, n)`, which is z[i] = x[i] + y[i] · (i mod 4 + 1) for i below n, on vectors of a hundred numbers.
fn sums(folder: &Path, n: &str, more: &[&str]) -> Outcome {
    let numbers = |from: u16| -> Vec<f32> { (from..from + 100).map(f32::from).collect() };
    let [x, y] = [0, 1000].map(|from| Tensor::from_values([100], &numbers(from)).unwrap());
    let file = folder.join("vectors.safetensors");
    tensors::write(&file, [("x", &x), ("y", &y)]).unwrap();
    let input = |name: &str| format!("in:{}#{name}", file.display());
    let (x, y, n) = (input("x"), input("y"), format!("i32:{n}"));
    let mut flags = vec![
        "--entry", "add", "--grid", "4", "--block", "32", "--arg", &x, "--arg", &y,
    ];
    flags.extend(["--arg", "out:z:f32:100", "--arg", &n]);
    flags.extend(more);
    emulate(&basics(), &flags)
}

#[test]
fn a_kernel_runs_on_tensors_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let (outputs, report) = (
        folder.path().join("z.safetensors"),
        folder.path().join("r.json"),
    );
    let flags = [
        "--outputs",
        outputs.to_str().unwrap(),
        "--report",
        report.to_str().unwrap(),
    ];
    let outcome = sums(
        folder.path(),
        "100",
        &[&flags[..], &["--schedules", "3"]].concat(),
    );
    assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), ""));
    assert!(outcome.stdout.starts_with("kernel"), "{}", outcome.stdout);
    let found = tensors::read(&outputs).unwrap();
    let expected: Vec<f32> = (0..100u16)
        .map(|i| f32::from(i) + f32::from(1000 + i) * f32::from(i % 4 + 1))
        .collect();
    assert_eq!(
        found,
        [(
            "z".to_owned(),
            Tensor::from_values([100], &expected).unwrap()
        )]
    );
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["kernel"], "add");
    assert_eq!(report["grid"], serde_json::json!([4, 1, 1]));
    assert_eq!(report["findings"], serde_json::json!([]));
    // Two inputs and an output of a hundred floats, and in constant memory the table, which is not counted.
    assert_eq!(report["counts"]["global_read"], 800);
    assert_eq!(report["counts"]["global_written"], 400);
    assert!(report["lane_instructions"].as_u64() > Some(100 * 5));
}

#[test]
fn what_the_checker_finds_has_a_line_and_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = sums(folder.path(), "101", &[]);
    assert_eq!(outcome.code, Some(3));
    let place = format!("{}:", basics().display());
    assert!(outcome.stderr.starts_with(&place), "{}", outcome.stderr);
    assert!(
        outcome
            .stderr
            .contains("where no memory is (kernel add, CTA 3,0,0, warp 0, lane 4")
    );
}

#[test]
fn a_report_has_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    let outcome = sums(folder.path(), "101", &["--report", path.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(3));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(report["completed"], false);
    let found = &report["findings"][0];
    assert_eq!(found["kind"], "out of bounds");
    assert_eq!(
        (&found["kernel"], &found["function"]),
        (&"add".into(), &"add".into())
    );
    assert_eq!(found["cta"], serde_json::json!([3, 0, 0]));
    assert_eq!((&found["warp"], &found["lane"]), (&0.into(), &4.into()));
    // Behind a hundred floats of a vector, which begins at a multiple of 256.
    assert_eq!(
        found["address"].as_u64().map(|at| at % 256),
        Some(400 % 256)
    );
    assert!(found["line"].as_u64() > Some(0));
}

/// Two findings of one line, of one kind each, are both told.
#[test]
fn findings_of_one_line_are_told_by_their_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("kernel.ptx");
    // Lanes of a warp store different numbers to one place, and two warps do without an order.
    let text = ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry main(.param .u64 p) {\n\
                .reg .b64 %p;\n.reg .b32 %t;\nld.param.u64 %p, [p];\nmov.u32 %t, %tid.x;\nst.global.u32 [%p], %t;\n\
                ret;\n}\n";
    std::fs::write(&kernel, text).unwrap();
    let path = folder.path().join("r.json");
    let flags = ["--block", "64", "--arg", "out:x:u32:1", "--report"];
    let outcome = emulate(
        &kernel,
        &[&flags[..], &[path.to_str().unwrap(), "--schedules", "8"]].concat(),
    );
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let of_line = findings.iter().filter(|found| found["line"] == 9);
    let kinds: Vec<&str> = of_line
        .map(|found| found["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.contains(&"lanes") && kinds.contains(&"race"),
        "{kinds:?}"
    );
}

#[test]
fn an_output_that_is_not_all_written_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = sums(folder.path(), "99", &[]);
    assert_eq!(outcome.code, Some(3));
    assert!(
        outcome
            .stderr
            .contains("output 'z': the element [99] was never written")
    );
}

/// Seeds go on at 0 behind the largest.
#[test]
fn every_schedule_runs_whatever_the_first_seed() {
    let folder = tempfile::tempdir().unwrap();
    let seed = u64::MAX.to_string();
    let flags = ["--seed", &seed, "--schedules", "3"];
    let outcome = sums(folder.path(), "100", &flags);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    // What is wrong under each of them is found.
    let outcome = sums(folder.path(), "101", &flags);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stdout);
}

#[test]
fn a_tensor_is_changed_beside_others_that_are_not_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let ones = Tensor::from_values([128], &[1f32; 128]).unwrap();
    let file = folder.path().join("step.safetensors");
    let codes = vec![0u8; 8];
    let views = [
        (
            "codes",
            safetensors::tensor::TensorView::new(safetensors::Dtype::F8_E4M3, vec![8], &codes)
                .unwrap(),
        ),
        (
            "z",
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![128], ones.bytes())
                .unwrap(),
        ),
    ];
    safetensors::serialize_to_file(views, None, &file).unwrap();
    let outputs = folder.path().join("z.safetensors");
    let place = format!("{}#z", file.display());
    let [x, z] = [format!("in:{place}"), format!("inout:z:{place}")];
    let flags = [
        "--entry",
        "add",
        "--grid",
        "4",
        "--block",
        "32",
        "--arg",
        &x,
        "--arg",
        &x,
        "--arg",
        &z,
        "--arg",
        "i32:2",
        "--outputs",
        outputs.to_str().unwrap(),
    ];
    let outcome = emulate(&basics(), &flags);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let found = tensors::read(&outputs).unwrap();
    // z[i] = 1 + 1 · (i mod 4 + 1) for the first two.
    assert_eq!(
        found[0].1.values::<f32>().unwrap()[..4],
        [2.0, 3.0, 1.0, 1.0]
    );
}

#[test]
fn memory_that_there_is_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--entry", "add", "--arg", "out:z:f32:99999999999999"];
    let outcome = emulate(&basics(), &flags);
    assert_eq!(outcome.code, Some(1));
    let expected = "--arg 'out:z:f32:99999999999999': expected a tensor that fits into memory, found f32:99999999999999";
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    let outcome = sums(folder.path(), "100", &["--shared", "999999999"]);
    assert_eq!(outcome.code, Some(1));
    let expected = "bytes of a CTA's shared memory: expected at most ";
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
}

#[test]
fn outputs_of_a_launch_that_does_not_end_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("stuck.ptx");
    let text = ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 z) { vadd.u32.u32.u32 %r1, %r2, %r3; ret; }\n";
    std::fs::write(&kernel, text.replace("{ vadd", "{ .reg .b32 %r<4>; vadd")).unwrap();
    let outputs = folder.path().join("z.safetensors");
    let flags = [
        "--arg",
        "out:z:f32:1",
        "--outputs",
        outputs.to_str().unwrap(),
    ];
    let outcome = emulate(&kernel, &flags);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(
        outcome
            .stderr
            .contains("warning: no launch came to its end: "),
        "{}",
        outcome.stderr
    );
    assert!(!outputs.exists());
}

#[test]
fn arguments_are_read_before_anything_runs() {
    let refused = |flags: &[&str], message: &str| {
        let outcome = emulate(&basics(), flags);
        assert_eq!(outcome.code, Some(1), "{flags:?}");
        assert!(
            outcome.stderr.contains(message),
            "{flags:?}: {}",
            outcome.stderr
        );
    };
    refused(&[], "expected --entry, one of add, reduce");
    refused(
        &["--entry", "nothing"],
        "basics.ptx: error: expected one of the kernels",
    );
    refused(
        &["--entry", "add", "--arg", "i32:x"],
        "expected a number of type i32, found 'x'",
    );
    refused(
        &["--entry", "add", "--arg", "5"],
        "expected TYPE:VALUE, bytes:HEX, in:FILE#TENSOR",
    );
    refused(
        &["--entry", "add", "--arg", "f32:1e50"],
        "--arg 'f32:1e50': expected a number of type f32, found '1e50'",
    );
    refused(
        &["--entry", "add", "--arg", "out::f32:4"],
        "--arg 'out::f32:4': expected a name of an output, found ''",
    );
    refused(
        &["--entry", "add", "--arg", "out:z:f32:"],
        "--arg 'out:z:f32:': expected a shape such as 256x128, found ''",
    );
    let map = "tensormap:box=3:out:z:f32:64";
    refused(
        &["--entry", "add", "--arg", map],
        &format!("--arg '{map}': "),
    );
    refused(
        &["--entry", "add", "--arg", "i32:5"],
        "expected arguments of [8, 8, 8, 4] bytes, found [4]",
    );
    let twice = ["--arg", "out:z:f32:1", "--arg", "out:z:f32:1"];
    refused(
        &[&["--entry", "add"], &twice[..]].concat(),
        "found 'z' twice",
    );
}

#[test]
fn a_text_that_is_no_module_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kernel.ptx");
    std::fs::write(&file, ".version 8.7\n.target sm_90\n.entry main( {\n").unwrap();
    let outcome = emulate(&file, &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("kernel.ptx:3:"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_kernel_takes_tensor_maps() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, columns) = (50, 72);
    let x: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
    let file = folder.path().join("x.safetensors");
    let x = Tensor::from_values([rows, columns], &x).unwrap();
    tensors::write(&file, [("x", &x)]).unwrap();
    let outputs = folder.path().join("y.safetensors");
    let map = "tensormap:box=16x32,swizzle=128";
    let [x, y] = [
        format!("{map}:in:{}#x", file.display()),
        format!("{map}:out:y:f32:{rows}x{columns}"),
    ];
    let mut flags = vec!["--entry", "negate", "--grid", "2", "--block", "96"];
    flags.extend([
        "--arg", &x, "--arg", &y, "--arg", "i32:72", "--arg", "i32:50",
    ]);
    flags.extend(["--schedules", "5", "--outputs", outputs.to_str().unwrap()]);
    let kernel = basics().with_file_name("tensor.ptx");
    let outcome = emulate(&kernel, &flags);
    assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), ""));
    let expected: Vec<f32> = (0..rows * columns).map(|i| -(i as f32)).collect();
    let expected = Tensor::from_values([rows, columns], &expected).unwrap();
    assert_eq!(
        tensors::read(&outputs).unwrap(),
        [("y".to_owned(), expected)]
    );
}

/// A kernel of a file of its own, whose text begins behind the target.
fn written(folder: &Path, target: &str, body: &str) -> PathBuf {
    let file = folder.join("own.ptx");
    let text = format!(".version 8.7\n.target {target}\n.address_size 64\n{body}");
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_cluster_has_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = written(
        folder.path(),
        "sm_90",
        ".visible .entry main(.param .u64 p) {\n.reg .b64 %p;\n.reg .b32 %cta, %rank;\nld.param.u64 %p, [p];\n\
         mov.u32 %cta, %ctaid.x;\nmad.wide.u32 %p, %cta, 4, %p;\nmov.u32 %rank, %cluster_ctarank;\n\
         st.global.u32 [%p], %rank;\nret;\n}\n",
    );
    let outputs = folder.path().join("out.safetensors");
    let flags = ["--grid", "6", "--cluster", "2", "--arg", "out:ranks:u32:6"];
    let outcome = emulate(
        &kernel,
        &[&flags[..], &["--outputs", outputs.to_str().unwrap()]].concat(),
    );
    assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), ""));
    assert!(outcome.stdout.contains("2 x 1 x 1"), "{}", outcome.stdout);
    let found = tensors::read(&outputs).unwrap();
    assert_eq!(found[0].1.values::<u32>().unwrap(), [0, 1, 0, 1, 0, 1]);
    // Three CTAs are no whole clusters of two.
    let outcome = emulate(
        &kernel,
        &["--grid", "3", "--cluster", "2", "--arg", "out:ranks:u32:6"],
    );
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("cluster"), "{}", outcome.stderr);
}

#[test]
fn a_kernel_says_its_block_and_its_cluster_and_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = |directives: &str| {
        let body = format!(
            ".visible .entry main(.param .u64 p)\n{directives}\n{{\n.reg .b64 %p;\n.reg .b32 %own, %size;\n\
             ld.param.u64 %p, [p];\nmov.u32 %own, %ctaid.x;\nmad.wide.u32 %p, %own, 8, %p;\n\
             mov.u32 %own, %cluster_nctarank;\nmov.u32 %size, %ntid.x;\nst.global.v2.u32 [%p], {{%own, %size}};\n\
             ret;\n}}\n"
        );
        written(folder.path(), "sm_90", &body)
    };
    let outputs = folder.path().join("out.safetensors");
    let run = |directives: &str, flags: &[&str]| {
        let all = ["--grid", "4", "--arg", "out:sizes:u32:4x2"];
        let to = ["--outputs", outputs.to_str().unwrap()];
        emulate(&kernel(directives), &[&all[..], &to, flags].concat())
    };
    let both = ".reqntid 32\n.reqnctapercluster 2, 1, 1";
    for flags in [&[][..], &["--block", "32", "--cluster", "2"]] {
        let outcome = run(both, flags);
        assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), ""));
        let found = tensors::read(&outputs).unwrap();
        let expected = [2, 32, 2, 32, 2, 32, 2, 32];
        assert_eq!(found[0].1.values::<u32>().unwrap(), expected);
    }
    for (directives, flags, reason) in [
        (
            both,
            ["--block", "64"],
            "expected [32, 1, 1] of .reqntid, found [64, 1, 1]",
        ),
        (
            both,
            ["--cluster", "1"],
            "expected [2, 1, 1] of .reqnctapercluster, found [1, 1, 1]",
        ),
        (
            ".maxntid 64, 2",
            ["--block", "129"],
            "expected at most [64, 2, 1] of .maxntid, found 129",
        ),
    ] {
        let outcome = run(directives, &flags);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
    }
}

/// Sums in another order: other bits of floats, the same of the ring's integers.
#[test]
fn the_ring_does_not_know_orders_of_sums() {
    let folder = tempfile::tempdir().unwrap();
    let sum = |order: [&str; 3], ring: &[&str]| -> u32 {
        let [a, b, c] = order;
        let kernel = written(
            folder.path(),
            "sm_90",
            &format!(
                ".visible .entry main(.param .u64 p, .param .f32 a, .param .f32 b, .param .f32 c) {{\n.reg .b64 %p;\n\
                 .reg .f32 %a, %b, %c, %s;\nld.param.u64 %p, [p];\nld.param.f32 %a, [a];\nld.param.f32 %b, [b];\n\
                 ld.param.f32 %c, [c];\nadd.rn.f32 %s, {a}, {b};\nadd.rn.f32 %s, %s, {c};\nst.global.f32 [%p], %s;\nret;\n}}\n"
            ),
        );
        let outputs = folder.path().join("out.safetensors");
        let flags = [
            "--arg",
            "out:s:u32",
            "--arg",
            "f32:1e8",
            "--arg",
            "f32:-1e8",
        ];
        let more = ["--arg", "f32:1", "--outputs", outputs.to_str().unwrap()];
        let outcome = emulate(&kernel, &[&flags[..], &more, ring].concat());
        assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), ""));
        tensors::read(&outputs).unwrap()[0]
            .1
            .values::<u32>()
            .unwrap()[0]
    };
    let orders = [["%a", "%b", "%c"], ["%a", "%c", "%b"]];
    let [first, second] = orders.map(|order| f32::from_bits(sum(order, &[])));
    assert_eq!((first, second), (1.0, 0.0));
    let [first, second] = orders.map(|order| sum(order, &["--ring"]));
    assert_eq!(first, second);
    // A sum of other numbers is another one.
    assert_ne!(first, sum(["%a", "%c", "%c"], &["--ring"]));
}

#[test]
fn a_kernel_that_loops_for_ever_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = written(
        folder.path(),
        "sm_90",
        ".visible .entry main() {\nAGAIN:\nbra AGAIN;\n}\n",
    );
    let outcome = emulate(&kernel, &["--max-instructions", "1000"]);
    assert_eq!(outcome.code, Some(3));
    let expected = "own.ptx:6:1: found: runs on beyond the limit of instructions (kernel main, CTA 0,0,0, warp 0, lane 0";
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
}

#[test]
fn a_module_that_no_assembler_takes_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |body: &str, message: &str| {
        let kernel = written(folder.path(), "sm_90", body);
        let outcome = emulate(&kernel, &[]);
        assert_eq!(outcome.code, Some(1), "{body}");
        let expected = format!("own.ptx:{message}");
        assert!(outcome.stderr.contains(&expected), "{}", outcome.stderr);
    };
    refused(
        ".visible .entry main() {\nbra NOWHERE;\n}\n",
        "5:1: expected a name that is declared, found NOWHERE",
    );
    refused(
        ".visible .entry main() {\ntcgen05.fence::before_thread_sync;\n}\n",
        "5:1: 'tcgen05.fence::before_thread_sync' is not supported on .target sm_90",
    );
    refused(
        ".address_size 32\n",
        "4:15: expected 64, since addresses of 32 bits are not modelled, found the number 32",
    );
}

/// Codes of eight bits and two of four in a byte, as their types have them in files.
#[test]
fn outputs_may_be_of_low_precision() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = written(
        folder.path(),
        "sm_90",
        ".visible .entry main(.param .u64 p, .param .u64 q) {\n.reg .b64 %p, %q;\n.reg .b32 %x;\nld.param.u64 %p, [p];\n\
         ld.param.u64 %q, [q];\nst.global.u32 [%p], 0x04030201;\nld.global.u16 %x, [%q];\nadd.u32 %x, %x, 0x2110;\n\
         st.global.u16 [%q], %x;\nret;\n}\n",
    );
    let outputs = folder.path().join("out.safetensors");
    let flags = ["--arg", "out:a:e4m3:2x2", "--arg", "inout:b:e2m1:4"];
    let outcome = emulate(
        &kernel,
        &[&flags[..], &["--outputs", outputs.to_str().unwrap()]].concat(),
    );
    assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), ""));
    let bytes = std::fs::read(&outputs).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (a, b) = (file.tensor("a").unwrap(), file.tensor("b").unwrap());
    assert_eq!(
        (a.dtype(), a.shape(), a.data()),
        (safetensors::Dtype::F8_E4M3, &[2, 2][..], &[1, 2, 3, 4][..])
    );
    assert_eq!(
        (b.dtype(), b.shape(), b.data()),
        (safetensors::Dtype::F4, &[4][..], &[0x10, 0x21][..])
    );
    // They are read back by the next launch.
    let place = format!("{}#b", outputs.display());
    let flags = [
        "--arg",
        "out:a:e4m3:2x2",
        "--arg",
        &format!("inout:b:{place}"),
    ];
    let again = folder.path().join("again.safetensors");
    let outcome = emulate(
        &kernel,
        &[&flags[..], &["--outputs", again.to_str().unwrap()]].concat(),
    );
    assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), ""));
    let bytes = std::fs::read(&again).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("b").unwrap().data(), [0x20, 0x42]);
}
