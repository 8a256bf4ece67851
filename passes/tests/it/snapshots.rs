//! What each pass makes of one small block: a norm, a linear layer with bias, and a gated activation.

use crate::common::program;
use std::fmt::Write;
use tessera_passes::manager::{Observer, PassRun};
use tessera_passes::{PlanOptions, default_pipeline, plan};

const BLOCK: &str = "(%arg0: t<4x8xf32>, %arg1: t<8xf32>, %arg2: t<8x6xf32>, %arg3: t<6xf32>) -> t<4x6xf32> {
   %0 = tsr.multiply %arg0, %arg0 : t<4x8xf32>
   %1 = tsr.constant {value = dense<0.0>} : t<f32>
   %2 = tsr.reduce %0, %1 {dimensions = [1]} : (t<4x8xf32>, t<f32>) -> t<4xf32> {
   ^body(%a: t<f32>, %b: t<f32>):
     %s = tsr.add %a, %b : t<f32>
     tsr.return %s : t<f32>
   }
   %3 = tsr.broadcast_in_dim %2 {broadcast_dimensions = [0]} : (t<4xf32>) -> t<4x1xf32>
   %4 = tsr.constant {value = dense<8.0>} : t<4x1xf32>
   %5 = tsr.divide %3, %4 : t<4x1xf32>
   %6 = tsr.rsqrt %5 : t<4x1xf32>
   %7 = tsr.broadcast_in_dim %6 {broadcast_dimensions = [0, 1]} : (t<4x1xf32>) -> t<4x8xf32>
   %8 = tsr.multiply %arg0, %7 : t<4x8xf32>
   %9 = tsr.broadcast_in_dim %arg1 {broadcast_dimensions = [1]} : (t<8xf32>) -> t<1x8xf32>
   %10 = tsr.broadcast_in_dim %9 {broadcast_dimensions = [0, 1]} : (t<1x8xf32>) -> t<4x8xf32>
   %11 = tsr.multiply %8, %10 : t<4x8xf32>
   %12 = tsr.dot_general %11, %arg2 {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32} : (t<4x8xf32>, t<8x6xf32>) -> t<4x6xf32>
   %13 = tsr.broadcast_in_dim %arg3 {broadcast_dimensions = [1]} : (t<6xf32>) -> t<4x6xf32>
   %14 = tsr.add %12, %13 : t<4x6xf32>
   %15 = tsr.call %14 {callee = @silu} : (t<4x6xf32>) -> t<4x6xf32>
   return %15 : t<4x6xf32>
 }
 func.func private @silu(%arg0: t<4x6xf32>) -> t<4x6xf32> {
   %0 = tsr.logistic %arg0 : t<4x6xf32>
   %1 = tsr.multiply %arg0, %0 : t<4x6xf32>
   return %1 : t<4x6xf32>
 }";

#[derive(Default)]
struct Texts(String);

impl Observer for Texts {
    fn after_pass(&mut self, run: &PassRun<'_>) {
        write!(self.0, "// {}: {}\n{}\n", run.number, run.name, run.module).unwrap();
    }
}

#[test]
fn each_pass_on_one_block() {
    let mut texts = Texts::default();
    default_pipeline().run(&program(BLOCK), &mut texts).unwrap();
    insta::assert_snapshot!("passes", texts.0);
}

#[test]
fn the_plan_of_one_block() {
    let fused = crate::common::run(tessera_passes::DEFAULT_PIPELINE, &program(BLOCK));
    let plan = plan(&fused, PlanOptions::default()).unwrap();
    insta::assert_snapshot!("plan", plan.to_string());
}
