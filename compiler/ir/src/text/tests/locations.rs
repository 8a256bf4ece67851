//! Locations in whole texts.

use crate::Location;
use crate::text::{PrintOptions, parse, print};

const SOURCE: &str = "module {
  func.func public @f(%arg0: tensor<f32> loc(\"x\")) -> tensor<f32> {
    %0 = tsr.add %arg0, %arg0 : tensor<f32> loc(#loc1)
    %1 = tsr.negate %0 : tensor<f32> loc(unknown)
    %2 = tsr.abs %1 : tensor<f32> loc(#loc1)
    %3 = tsr.abs %2 : tensor<f32> loc(#loc2)
    return %3 : tensor<f32>
  } loc(\"step.py\":1:1 to 9:2)
}
#loc0 = loc(\"jit(f)/add\"(\"step.py\":2:7))
#loc1 = loc(callsite(#loc0 at \"step.py\":9:1))
#loc2 = loc(fused[#loc0, \"x\", unknown])
";

#[test]
fn locations_made_of_others_are_named_once_at_the_end() {
    let module = parse(SOURCE, None).unwrap();
    let options = PrintOptions {
        locations: true,
        generic: false,
    };
    assert_eq!(print(&module, options), SOURCE);
    let graph = module.graph("f").unwrap();
    let range = graph.operations()[0].location.innermost().unwrap();
    assert_eq!((&*range.file, range.start), ("step.py", (2, 7)));
}

#[test]
fn without_a_file_name_what_says_nothing_is_unknown() {
    let module = parse("func.func @f() {\n  return\n}", None).unwrap();
    assert_eq!(module.graph("f").unwrap().location, Location::Unknown);
}

#[test]
fn with_a_file_name_what_says_nothing_has_its_own_place() {
    let source = "module {
  func.func public @f(%x: tensor<f32>, %y: tensor<f32> loc(unknown)) -> tensor<f32> {
    %a = tsr.add %x, %y : tensor<f32>  %b = tsr.reduce %a, %x {dimensions = []} : tensor<f32> {
      ^body(%p: tensor<f32>, %q: tensor<f32>):
        %é = tsr.add %p, %q : tensor<f32>
        tsr.return %r : tensor<f32>
    }
    return %b : tensor<f32>
  }
}"
    .replace("%é", "%r");
    let module = parse(&source, Some("f.tsr")).unwrap();
    let graph = module.graph("f").unwrap();
    let at = |line, column| Location::file("f.tsr", line, column);
    assert_eq!(graph.location, at(2, 3));
    assert_eq!(graph.inputs()[0].location, at(2, 23));
    assert_eq!(graph.inputs()[1].location, Location::Unknown);
    assert_eq!(graph.operations()[0].location, at(3, 5));
    assert_eq!(graph.operations()[1].location, at(3, 40));
    let region = graph.operations()[1].op.kind.regions()[0].clone();
    assert_eq!(region.inputs()[1].location, at(4, 30));
    assert_eq!(region.operations()[0].location, at(5, 9));
}

#[test]
fn the_aliases_of_jax_may_stand_before_and_after() {
    let source = "#loc = loc(unknown)
#loc1 = loc(\"x\")
module @jit_f {
  func.func public @main(%arg0: tensor<f32> loc(\"x\")) -> tensor<f32> {
    return %arg0 : tensor<f32> loc(#loc)
  } loc(#loc5)
} loc(#loc)
#loc5 = loc(\"jit(f)\"(#loc1))
";
    let module = parse(source, None).unwrap();
    let name = Location::Name("x".into(), None);
    assert_eq!(
        module.graph("main").unwrap().location,
        Location::Name("jit(f)".into(), Some(name.into()))
    );
}
