//! Pipelines: their text form, running them, and what is told when they fail.

use crate::common::{program, run};
use tessera_ir::{Graph, Location, Module, OpKind, Unary, VerifyError};
use tessera_passes::manager::{Cause, Observer, Pass, PassFailure, PassRun, Report, Silent, list};
use tessera_passes::{
    DEFAULT_PIPELINE, Pipeline, SCALE_TILES_PIPELINE, default_pipeline, scale_tiles_pipeline,
};

fn error(text: &str) -> String {
    let error = text.parse::<Pipeline>().unwrap_err();
    error.render("pipeline", text)
}

#[test]
fn a_pipeline_is_printed_as_it_is_read_without_defaults() {
    for (text, printed) in [
        ("", ""),
        ("inline,fuse", "inline,fuse"),
        (
            "canonicalise{max-iterations=3}",
            "canonicalise{max-iterations=3}",
        ),
        (
            "canonicalise{fold-limit=4096 max-iterations=10}",
            "canonicalise",
        ),
        (
            " canonicalise { fold-limit=7  max-iterations=2 } ,\n dce{} ",
            "canonicalise{max-iterations=2 fold-limit=7},dce",
        ),
    ] {
        let pipeline: Pipeline = text.parse().unwrap();
        assert_eq!(pipeline.to_string(), printed);
        assert_eq!(printed.parse::<Pipeline>().unwrap().to_string(), printed);
    }
}

#[test]
fn the_default_pipeline_is_the_one_that_is_named() {
    assert_eq!(default_pipeline().to_string(), DEFAULT_PIPELINE);
    assert_eq!(scale_tiles_pipeline().to_string(), SCALE_TILES_PIPELINE);
}

#[test]
fn every_pass_is_listed_with_its_options() {
    let names: Vec<&str> = list().map(|pass| pass.name).collect();
    assert_eq!(
        names,
        [
            "inline",
            "canonicalise",
            "cse",
            "dce",
            "recipe",
            "decompose",
            "fold-unit-dimensions",
            "saturate",
            "drop-barriers",
            "scale-layout",
            "fuse"
        ]
    );
    for pass in list() {
        assert!(
            !pass.summary.is_empty() && !pass.summary.ends_with('.'),
            "{}",
            pass.name
        );
        for option in pass.options {
            // Each option can be set to the value that it is listed with.
            let text = format!("{}{{{}={}}}", pass.name, option.name, option.value);
            assert_eq!(text.parse::<Pipeline>().unwrap().to_string(), pass.name);
        }
    }
}

#[test]
fn an_unknown_pass_is_placed_and_the_nearest_suggested() {
    assert_eq!(
        error("inline,canonicalize,fuse"),
        "pipeline:1:8: error: unknown pass 'canonicalize', did you mean 'canonicalise'?\n  \
         inline,canonicalize,fuse\n         ^^^^^^^^^^^^\n\
         note: there are: inline, canonicalise, cse, dce, recipe, decompose, fold-unit-dimensions, saturate, drop-barriers, scale-layout, fuse\n"
    );
    assert!(error("xyzzy").starts_with("pipeline:1:1: error: unknown pass 'xyzzy'\n"));
}

#[test]
fn an_unknown_option_is_placed_and_the_nearest_suggested() {
    assert_eq!(
        error("canonicalise{max-iteration=3}"),
        "pipeline:1:14: error: unknown option of 'canonicalise' 'max-iteration', did you mean 'max-iterations'?\n  \
         canonicalise{max-iteration=3}\n               ^^^^^^^^^^^^^\n\
         note: there are: max-iterations, fold-limit\n"
    );
    assert!(error("inline{a=1}").ends_with("note: it has no options\n"));
}

#[test]
fn a_value_that_is_none_of_the_options_is_placed() {
    assert_eq!(
        error("fuse{max-ops=many}"),
        "pipeline:1:14: error: option 'max-ops': expected an integer, 0 or more, found 'many'\n  \
         fuse{max-ops=many}\n               ^^^^\n"
    );
}

#[test]
fn malformed_pipelines_are_refused_with_a_place() {
    for (text, message) in [
        (
            ",",
            "pipeline:1:1: error: expected the name of a pass, found ','",
        ),
        (
            "inline,",
            "pipeline:1:8: error: expected the name of a pass, found the end",
        ),
        (
            "inline fuse",
            "pipeline:1:8: error: expected ',' or the end, found 'f'",
        ),
        (
            "fuse{max-ops}",
            "pipeline:1:13: error: expected '=', found '}'",
        ),
        (
            "fuse{max-ops=}",
            "pipeline:1:14: error: expected a value, found '}'",
        ),
        (
            "fuse{max-ops=1",
            "pipeline:1:15: error: expected an option or '}', found the end",
        ),
        (
            "fuse}",
            "pipeline:1:5: error: expected ',' or the end, found '}'",
        ),
        ("é{", "pipeline:1:1: error: unknown pass 'é'"),
    ] {
        assert!(error(text).starts_with(message), "{}", error(text));
    }
}

const NEGATE: &str = "(%arg0: t<4xf32>) -> t<4xf32> {
   %0 = tsr.negate %arg0 : t<4xf32>
   %1 = tsr.negate %0 : t<4xf32>
   return %1 : t<4xf32>
 }";

#[test]
fn the_observer_is_told_of_each_pass_in_order() {
    #[derive(Default)]
    struct Seen(Vec<(usize, &'static str, bool, usize)>);
    impl Observer for Seen {
        fn after_pass(&mut self, run: &PassRun<'_>) {
            let ops = run.module.entry().unwrap().operations().len();
            self.0.push((run.number, run.name, run.changed, ops));
        }
    }
    let mut seen = Seen::default();
    let pipeline: Pipeline = "inline,canonicalise,dce".parse().unwrap();
    pipeline.run(&program(NEGATE), &mut seen).unwrap();
    assert_eq!(
        seen.0,
        [
            (0, "inline", false, 2),
            (1, "canonicalise", true, 0),
            (2, "dce", false, 0)
        ]
    );
}

#[test]
fn the_uses_of_each_rule_are_counted() {
    #[derive(Default)]
    struct Counts(Vec<(&'static str, usize)>);
    impl Observer for Counts {
        fn after_pass(&mut self, run: &PassRun<'_>) {
            self.0 = run.report.statistics().to_vec();
        }
    }
    let mut counts = Counts::default();
    let pipeline: Pipeline = "canonicalise".parse().unwrap();
    pipeline.run(&program(NEGATE), &mut counts).unwrap();
    assert_eq!(counts.0, [("double inverse", 1)]);
}

/// A pass that is wrong in one way or another.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Panics,
    GivesUp,
    BreaksTheModule,
}

impl Pass for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn summary(&self) -> &'static str {
        "does something wrong"
    }

    fn run(&self, module: &Module, _: &mut Report) -> Result<Module, PassFailure> {
        let entry = module.entry().unwrap();
        match self {
            Self::Panics => panic!("found {} ops", entry.operations().len()),
            Self::GivesUp => Err(PassFailure::refused("cannot be done")
                .at(&Location::file("step.py", 3, 7))
                .about("%0 = tsr.negate %arg0 : tensor<4xf32>")),
            Self::BreaksTheModule => {
                let mut broken = Graph::new("main", vec![]);
                let mut other = Graph::new("other", entry.inputs().to_vec());
                let x = other.input_value(0).unwrap();
                let y = other
                    .push_value(OpKind::Unary(Unary::Abs), [x], Location::Unknown)
                    .unwrap();
                // The value of another graph.
                broken.set_result_values([y]);
                let mut module = Module::new(None);
                module.insert(broken);
                Ok(module)
            }
        }
    }
}

fn fails(wrong: Wrong) -> tessera_passes::PassError {
    let mut pipeline: Pipeline = "inline".parse().unwrap();
    pipeline.push(Box::new(wrong));
    pipeline.extend("dce,fuse{max-ops=3}".parse().unwrap());
    pipeline.run(&program(NEGATE), &mut Silent).unwrap_err()
}

#[test]
fn a_panic_in_a_pass_is_an_error_that_names_it() {
    let error = fails(Wrong::Panics);
    assert_eq!(error.cause, Cause::Panicked("found 2 ops".to_owned()));
    assert_eq!(error.to_string(), "pass 'wrong' panicked: found 2 ops");
    assert!(error.is_internal());
}

#[test]
fn a_pass_that_gives_up_names_the_op_and_its_place() {
    let error = fails(Wrong::GivesUp);
    assert_eq!(
        error.to_string(),
        "pass 'wrong': cannot be done\n  %0 = tsr.negate %arg0 : tensor<4xf32>"
    );
    assert_eq!(*error.location(), Location::file("step.py", 3, 7));
    assert!(!error.is_internal());
}

#[test]
fn a_pass_that_breaks_the_module_is_found_out() {
    let error = fails(Wrong::BreaksTheModule);
    let Cause::BrokenModule(errors) = &error.cause else {
        panic!("{error}");
    };
    assert!(
        matches!(errors.as_slice(), [VerifyError::UndefinedResult { .. }]),
        "{errors:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with("pass 'wrong' made a broken module\n  ")
    );
    assert!(error.is_internal());
}

#[test]
fn a_reproducer_is_the_module_before_and_the_passes_left() {
    let error = fails(Wrong::Panics);
    assert_eq!(error.reproducer.pipeline, "wrong,dce,fuse{max-ops=3}");
    let text = error.reproducer.to_string();
    let (first, module) = text.split_once('\n').unwrap();
    assert_eq!(first, "// tessera opt --passes 'wrong,dce,fuse{max-ops=3}'");
    assert_eq!(
        tessera_ir::text::parse(module, None).unwrap(),
        program(NEGATE)
    );
}

#[test]
fn passes_leave_what_a_module_is_called_and_its_names() {
    let mut before = program(
        "(%arg0: t<4xf32> {tsr.name = \"w\", tsr.donate = 0}) -> (t<4xf32> {tsr.name = \"new w\"}) {
           %0 = tsr.negate %arg0 : t<4xf32>
           return %0 : t<4xf32>
         }",
    );
    before.name = Some("jit_step".to_owned());
    let after = run(DEFAULT_PIPELINE, &before);
    assert_eq!(after.name.as_deref(), Some("jit_step"));
    let entry = after.entry().unwrap();
    assert_eq!(entry.inputs()[0].name.as_deref(), Some("w"));
    assert_eq!(entry.inputs()[0].donate, Some(0));
    assert_eq!(entry.results()[0].name.as_deref(), Some("new w"));
}
