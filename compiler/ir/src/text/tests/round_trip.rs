//! What is printed reads back to the same, and what is read prints the same.

use super::EXAMPLE;
use super::random::modules;
use crate::text::{PrintOptions, parse, parse_graph, print, print_graph};
use crate::{Graph, Location, Module, OpKind};
use proptest::prelude::*;

const EVERY_FORM: [PrintOptions; 4] = [
    PrintOptions {
        locations: false,
        generic: false,
    },
    PrintOptions {
        locations: true,
        generic: false,
    },
    PrintOptions {
        locations: false,
        generic: true,
    },
    PrintOptions {
        locations: true,
        generic: true,
    },
];

/// All locations of a module, regions' among them, which equality leaves out.
fn locations(module: &Module) -> Vec<Location> {
    fn collect(graph: &Graph, found: &mut Vec<Location>) {
        found.push(graph.location.clone());
        found.extend(graph.inputs().iter().map(|input| input.location.clone()));
        for operation in graph.operations() {
            found.push(operation.location.clone());
            for region in operation.op.kind.regions() {
                collect(region, found);
            }
        }
    }
    let mut found = Vec::new();
    for graph in module.graphs() {
        collect(graph, &mut found);
    }
    found
}

#[test]
fn the_example_prints_as_it_is_written() {
    let module = parse(EXAMPLE, None).unwrap();
    assert_eq!(print(&module, PrintOptions::default()), EXAMPLE);
}

#[test]
fn the_example_has_every_kind_of_op() {
    let elementwise = |name: &&str| {
        crate::Unary::from_name(name).is_none() && crate::Binary::from_name(name).is_none()
    };
    for name in OpKind::names().filter(elementwise) {
        let printed = format!("tsr.{name} ");
        assert!(EXAMPLE.contains(&printed), "{name} is missing");
    }
}

#[test]
fn the_generic_form_reads_back() {
    let module = parse(EXAMPLE, None).unwrap();
    let options = PrintOptions {
        generic: true,
        ..PrintOptions::default()
    };
    let generic = print(&module, options);
    assert_eq!(parse(&generic, None).unwrap(), module);
}

#[test]
fn forms_may_be_mixed() {
    let source = "func.func @f(%x: tensor<f32>) -> tensor<f32> {
        %0 = \"tsr.add\"(%x, %x) : (tensor<f32>, tensor<f32>) -> tensor<f32>
        %1 = tsr.reduce %0, %x {dimensions = array<i64>} : tensor<f32> {
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
            %1 = \"tsr.compare\"(%a, %b) <{direction = \"GT\"}> {compare_type = \"FLOAT\"} :
                (tensor<f32>, tensor<f32>) -> tensor<i1>
            %2 = tsr.select %1, %a, %b : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
            \"tsr.return\"(%2) : (tensor<f32>) -> ()
        }
        func.return %1 : tensor<f32>
    }";
    let module = parse(source, None).unwrap();
    let expected = "module {
  func.func public @f(%arg0: tensor<f32>) -> tensor<f32> {
    %0 = tsr.add %arg0, %arg0 : tensor<f32>
    %1 = tsr.reduce %0, %arg0 {dimensions = []} : tensor<f32> {
    ^body(%arg1: tensor<f32>, %arg2: tensor<f32>):
      %2 = tsr.compare %arg1, %arg2 {direction = GT, compare_type = FLOAT} : (tensor<f32>, tensor<f32>) -> tensor<i1>
      %3 = tsr.select %2, %arg1, %arg2 : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>
      tsr.return %3 : tensor<f32>
    }
    return %1 : tensor<f32>
  }
}
";
    assert_eq!(module.to_string(), expected);
}

#[test]
fn names_may_be_any_text() {
    let source = "module @\"a \\\"b\\\" \\0A é\" {
  func.func public @\"\"(%arg0: tensor<f32> {tsr.name = \"w[0]\\09\"}) {
    return
  }
}
";
    assert_eq!(parse(source, None).unwrap().to_string(), source);
}

#[test]
fn one_graph_reads_back() {
    let module = parse(EXAMPLE, None).unwrap();
    for graph in module.graphs() {
        for options in EVERY_FORM {
            let text = print_graph(graph, options);
            assert_eq!(&parse_graph(&text, None).unwrap(), graph, "{text}");
        }
    }
}

proptest! {
    // A module is large and is read in each form; PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn random_modules_read_back(module in modules()) {
        for options in EVERY_FORM {
            let text = print(&module, options);
            let read = parse(&text, None);
            let read = read.map_err(|e| TestCaseError::fail(format!("{}\n{text}", e.render("text", &text))))?;
            prop_assert_eq!(&read, &module, "{}", text);
            prop_assert_eq!(print(&read, options), text);
            if options.locations {
                prop_assert_eq!(locations(&read), locations(&module));
            }
        }
    }

    #[test]
    fn a_text_with_a_piece_replaced_is_read_or_refused(
        at in 0..EXAMPLE.len(),
        length in 0..60usize,
        piece in piece(),
    ) {
        let end = (at + length).min(EXAMPLE.len());
        let changed = format!("{}{piece}{}", &EXAMPLE[..at], &EXAMPLE[end..]);
        if let Err(error) = parse(&changed, Some("file")) {
            prop_assert!(error.span.start <= error.span.end && error.span.end <= changed.len() + 1);
            error.render("file", &changed);
        }
    }
}

/// Text to put where it does not belong.
pub(crate) fn piece() -> impl Strategy<Value = String> {
    let tokens = [
        "",
        "%0",
        "%0#1",
        "%0:2",
        "#loc",
        "loc(",
        "dense<",
        "tensor<",
        "2x",
        "-",
        "->",
        "\"",
        "\\",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "<",
        ">",
        ",",
        ":",
        "=",
        "@f",
        "^bb0",
        "0x",
        "1.0",
        "99999999999999999999",
        "é",
        "\0",
        "tsr.",
        "to",
    ];
    let token = prop::sample::select(tokens.to_vec()).prop_map(str::to_owned);
    let words = prop::collection::vec(prop_oneof![4 => token, 1 => "\\PC{0,3}"], 0..4);
    words.prop_map(|words| words.join(" "))
}
