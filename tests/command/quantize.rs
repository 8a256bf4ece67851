//! `tessera quantize`: the files it writes, its table, what it refuses.

use super::{Outcome, tessera};
use insta::assert_snapshot;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;
use tessera_numerics::{
    BlockShape, ElementType, Format, Initialiser, Quantization, RandomStream, Rounding,
    ScaleLayout, ScaleRule, ScaledTensor, ScaledType, Tensor, dequantize, quantize,
};
use tessera_runtime::tensors;

/// A checkpoint of small seeded tensors in a folder of its own.
struct Model {
    folder: TempDir,
    tensors: BTreeMap<String, Tensor>,
}

impl Model {
    fn new() -> Self {
        let normal: Initialiser = "normal(std=0.5, seed=7)".parse().unwrap();
        let tensor = |element, shape: &[usize], number| normal.tensor(element, shape, number);
        let tensors = [
            ("bias", tensor(ElementType::F32, &[24], 0).unwrap()),
            (
                "experts",
                tensor(ElementType::F32, &[2, 24, 19], 1).unwrap(),
            ),
            ("head", tensor(ElementType::F32, &[8, 48], 2).unwrap()),
            ("steps", Tensor::scalar(3i64)),
            ("wq", tensor(ElementType::Bf16, &[40, 24], 3).unwrap()),
        ];
        let tensors: BTreeMap<_, _> = tensors
            .into_iter()
            .map(|(name, tensor)| (name.to_owned(), tensor))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let named = tensors.iter().map(|(name, own)| (name.as_str(), own));
        tensors::write(folder.path().join("model.safetensors"), named).unwrap();
        Self { folder, tensors }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the command on the model, to `out.safetensors`, with the folder's name left out of messages.
    fn run(&self, flags: &[&str]) -> Outcome {
        self.run_on("model.safetensors", "out.safetensors", flags)
    }

    fn run_on(&self, input: &str, output: &str, flags: &[&str]) -> Outcome {
        let (input, output) = (self.path(input), self.path(output));
        let files = [input.to_str().unwrap(), "-o", output.to_str().unwrap()];
        let arguments = ["quantize"].into_iter().chain(files);
        let mut outcome = tessera(arguments.chain(flags.iter().copied()));
        let folder = format!("{}/", self.folder.path().display());
        outcome.stderr = outcome.stderr.replace(&folder, "");
        outcome
    }

    fn read(&self, name: &str) -> BTreeMap<String, Tensor> {
        tensors::read(self.path(name))
            .unwrap()
            .into_iter()
            .collect()
    }

    /// The numbers of a tensor of the model.
    fn values(&self, name: &str) -> Vec<f32> {
        let tensor = &self.tensors[name];
        match tensor.values::<f32>() {
            Some(values) => values,
            None => {
                let values = tensor.values::<half::bf16>().unwrap();
                values.into_iter().map(half::bf16::to_f32).collect()
            }
        }
    }

    /// What numerics makes of a tensor of the model.
    fn expected(
        &self,
        name: &str,
        (format, axis, blocks): (Format, usize, BlockShape),
        (rule, rounding): (ScaleRule, Rounding),
        stream: Option<RandomStream>,
    ) -> ScaledTensor {
        let shape = self.tensors[name].shape();
        let own = ScaledType::new(shape, format, axis, blocks, ScaleLayout::Linear).unwrap();
        let own = Quantization::new(own, rule, rounding).unwrap();
        quantize(&self.values(name), &own, None, stream).unwrap()
    }
}

/// The rows' codes without their padding.
fn codes(tensor: &ScaledTensor) -> Vec<u8> {
    let own = tensor.scaled_type();
    let bytes = own
        .columns()
        .div_ceil(own.format().element().elements_per_byte());
    let rows = tensor.codes().chunks(own.row_bytes());
    rows.flat_map(|row| row[..bytes].to_vec()).collect()
}

#[test]
fn nvfp4_has_the_bits_of_numerics_and_copies_the_rest() {
    let model = Model::new();
    let outcome = model.run(&["--format", "nvfp4"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_snapshot!(outcome.stdout);
    assert_eq!(
        outcome.stderr,
        "note: copied unchanged: 1 tensor: bias (fewer than two dimensions)\n\
         note: copied unchanged: 1 tensor: steps (elements of type I64; f32, bf16 and f16 are quantised)\n"
    );
    let file = model.read("out.safetensors");
    for name in ["bias", "steps"] {
        assert_eq!(file[name], model.tensors[name]);
    }
    let shapes = [
        ("experts", vec![2, 24, 10], vec![2, 24, 2]),
        ("head", vec![8, 24], vec![8, 3]),
        ("wq", vec![40, 12], vec![40, 2]),
    ];
    for (name, code_shape, scale_shape) in shapes {
        let axis = model.tensors[name].shape().len() - 1;
        let kind = (Format::Nvfp4, axis, BlockShape::Vector);
        let way = (ScaleRule::Te, Rounding::NearestEven);
        let expected = model.expected(name, kind, way, None);
        let part = |part: &str| &file[&format!("{name}.{part}")];
        assert_eq!(part("codes").shape(), code_shape);
        assert_eq!(part("codes").bytes(), codes(&expected));
        assert_eq!(part("scales").shape(), scale_shape);
        assert_eq!(part("scales").bytes(), expected.scales());
        assert_eq!(
            *part("tensor_scale"),
            Tensor::scalar(expected.tensor_scale())
        );
    }
    assert_eq!(file.len(), 2 + 3 * 3);
}

#[test]
fn the_header_describes_what_was_made() {
    let model = Model::new();
    let flags = [
        "--format",
        "nvfp4",
        "--rounding",
        "stochastic",
        "--seed",
        "5",
    ];
    let more = ["--axis", "0", "--layout", "tiled_128x4", "--tensors", "w*"];
    let outcome = model.run(&[&flags[..], &more].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let bytes = std::fs::read(model.path("out.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!(
        metadata["tessera.scaled_tensors"],
        r#"{"wq":{"element":"bf16","shape":[40,24],"format":"nvfp4","axis":0,"blocks":"vector","layout":"tiled_128x4","rule":"te","rounding":"stochastic","seed":5,"site":4}}"#
    );
    let file = model.read("out.safetensors");
    let kind = (Format::Nvfp4, 0, BlockShape::Vector);
    let stream = RandomStream {
        seed: 5,
        step: 0,
        site: 4,
    };
    let expected = model.expected(
        "wq",
        kind,
        (ScaleRule::Te, Rounding::Stochastic),
        Some(stream),
    );
    let expected = expected.with_layout(ScaleLayout::Tiled128x4).unwrap();
    assert_eq!(file["wq.codes"].shape(), [24, 20]);
    assert_eq!(file["wq.codes"].bytes(), codes(&expected));
    assert_eq!(file["wq.scales"].shape(), [1, 1, 32, 4, 4]);
    assert_eq!(file["wq.scales"].bytes(), expected.scales());
}

#[test]
fn every_format_goes_there_and_back() {
    let model = Model::new();
    for format in Format::ALL {
        let outcome = model.run(&["--format", format.name(), "--axis", "1"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let outcome = model.run_on("out.safetensors", "back.safetensors", &["--dequantize"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
        let back = model.read("back.safetensors");
        assert!(back.keys().eq(model.tensors.keys()));
        for name in ["experts", "head", "wq"] {
            let kind = (format, 1, BlockShape::Vector);
            let way = (ScaleRule::default_for(format), Rounding::NearestEven);
            let expected = dequantize(&model.expected(name, kind, way, None));
            let expected = match back[name].element() {
                ElementType::F32 => Tensor::from_values(model.tensors[name].shape(), &expected),
                _ => {
                    let rounded: Vec<_> = expected.into_iter().map(half::bf16::from_f32).collect();
                    Tensor::from_values(model.tensors[name].shape(), &rounded)
                }
            };
            assert_eq!(back[name], expected.unwrap(), "{name} in {format}");
        }
    }
}

#[test]
fn a_recipe_says_how_weights_are_quantised_and_which_are_kept() {
    let model = Model::new();
    let recipe = model.path("own.toml");
    let text = "extends = \"nvidia\"\n[keep]\nnames = [\"head\"]\nsmallest_dimension = 20\n";
    std::fs::write(&recipe, text).unwrap();
    let outcome = model.run(&["--recipe", recipe.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_snapshot!(outcome.stderr);
    let kind = (Format::Nvfp4, 1, BlockShape::Square);
    let expected = model.expected("wq", kind, (ScaleRule::Te, Rounding::NearestEven), None);
    let file = model.read("out.safetensors");
    assert_eq!(file["wq.codes"].bytes(), codes(&expected));
    assert_eq!(file["head"], model.tensors["head"]);
    assert_eq!(file["experts"], model.tensors["experts"]);
}

#[test]
fn a_recipe_that_rotates_weights_is_refused() {
    let model = Model::new();
    let recipe = model.path("rotated.toml");
    std::fs::write(&recipe, "extends = \"nvfp4\"\n[forward]\nhadamard = true\n").unwrap();
    let outcome = model.run(&["--recipe", recipe.to_str().unwrap()]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    let last = outcome.stderr.lines().last().unwrap();
    assert_eq!(
        last,
        "model.safetensors: error: recipe 'rotated' rotates weights together with activations, which is the work of a \
         step: a file holds one scaled tensor for a weight"
    );
}

#[test]
fn the_same_command_writes_the_same_bytes() {
    let model = Model::new();
    let read = || std::fs::read(model.path("out.safetensors")).unwrap();
    model.run(&["--format", "mxfp4"]);
    let first = read();
    model.run(&["--format", "mxfp4"]);
    assert_eq!(read(), first);
}

#[test]
fn what_cannot_be_is_refused_and_nothing_written() {
    let model = Model::new();
    std::fs::write(model.path("noise"), "no tensors").unwrap();
    let refusals: Vec<String> = [
        ("missing", &["--format", "nvfp4"][..]),
        ("noise", &["--format", "nvfp4"]),
        ("model.safetensors", &["--format", "nvfp5"]),
        (
            "model.safetensors",
            &["--format", "mxfp4", "--rule", "flor"],
        ),
        ("model.safetensors", &["--format", "mxfp4", "--rule", "te"]),
        (
            "model.safetensors",
            &["--format", "mxfp4", "--blocks", "square"],
        ),
        (
            "model.safetensors",
            &["--format", "nvfp4", "--layout", "tiled"],
        ),
        (
            "model.safetensors",
            &["--format", "fp8_e4m3", "--layout", "tiled_128x4"],
        ),
        ("model.safetensors", &["--format", "nvfp4", "--axis", "2"]),
        (
            "model.safetensors",
            &["--format", "nvfp4", "--tensors", "steps"],
        ),
        (
            "model.safetensors",
            &["--format", "nvfp4", "--tensors", "bias"],
        ),
        (
            "model.safetensors",
            &["--format", "nvfp4", "--tensors", "wk"],
        ),
        (
            "model.safetensors",
            &["--format", "nvfp4", "--tensors", "st*"],
        ),
        ("model.safetensors", &["--recipe", "metis"]),
        ("model.safetensors", &["--recipe", "bf16"]),
        ("model.safetensors", &["--recipe", "avers"]),
        ("model.safetensors", &["--dequantize"]),
    ]
    .iter()
    .map(|(input, flags)| {
        let outcome = model.run_on(input, "out.safetensors", flags);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
        format!("$ {input} {}\n{}", flags.join(" "), outcome.stderr)
    })
    .collect();
    assert!(!model.path("out.safetensors").exists());
    assert_snapshot!(refusals.join("\n"));
}

#[test]
fn a_file_whose_parts_are_not_those_described_is_not_turned_back() {
    let model = Model::new();
    model.run(&["--format", "nvfp4", "--tensors", "wq"]);
    let path = model.path("out.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes.windows(7).position(|own| own == b"[40,24]").unwrap();
    bytes[place..place + 7].copy_from_slice(b"[40,99]");
    std::fs::write(&path, bytes).unwrap();
    let outcome = model.run_on("out.safetensors", "back.safetensors", &["--dequantize"]);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(
        outcome.stderr,
        "out.safetensors: error: tensor 'wq.codes': expected U8 of shape [40, 50], found U8 of shape [40, 12]\n"
    );
    assert!(!model.path("back.safetensors").exists());
}

#[test]
fn a_checkpoint_is_not_replaced_by_what_is_left_of_it() {
    let model = Model::new();
    let before = std::fs::read(model.path("model.safetensors")).unwrap();
    let flags = ["--format", "nvfp4"];
    let outcome = model.run_on("model.safetensors", "./model.safetensors", &flags);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    assert!(
        outcome.stderr.contains("the output is the input"),
        "{}",
        outcome.stderr
    );
    assert_eq!(
        std::fs::read(model.path("model.safetensors")).unwrap(),
        before
    );
}
