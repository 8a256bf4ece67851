//! The dot family: which unit of a target makes a product, and what all of them ask of it.
//!
//! On Blackwell's data-centre chips, products of codes are `tcgen05`, those of groups of rows among them, and so are those of
//! 16-bit numbers that tensor maps reach in memory. On Hopper the latter are `wgmma`, as are those of codes that bf16
//! represents with their scales. What none of these holds of is left to the warps' units: lines that are no multiples of 16
//! bytes, strided on both sides, or computed in the kernel, rows of codes that are no multiples of sixteen codes, and other
//! groups: of codes on sm_120 with block scales too, elsewhere of what bf16 represents, and those of 16-bit numbers.

use super::boxes::Half;
use super::grouped::GroupedProduct;
use super::mma::{Copied, Lines, Packed};
use super::part::Part;
use super::scaled_dot::{Codes, ScaledProduct};
use super::{fma, mma, tcgen05, wgmma};
use crate::blocks::dot::Product;
use crate::blocks::epilogue;
use crate::blocks::{ceil_div, extent};
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Emission, Value};
use crate::nvptx::matrix::{BlockScaled, Mma};
use crate::nvptx::shared::Shared;
use crate::nvptx::{Feature, GpuTarget, Grid};
use tessera_ir::{ElementType, Graph, Operation};
use tessera_numerics::Format;
use tessera_runtime::bundle::MatrixUnit;

/// Fills a kernel's function.
///
/// # Errors
/// The body holds what this family cannot do.
pub fn emit(
    emission: &mut Emission<'_, '_>,
    (target, tile): (GpuTarget, Option<[i64; 2]>),
    shared: &mut Shared,
) -> Result<Grid, Unsupported> {
    if let Some(product) = ScaledProduct::of(&emission.kernel.body) {
        let codes = product.codes();
        if let Some(product) = tcgen05::Product::of_codes(&product, codes, target.capability()) {
            return product.in_tiles(tile)?.emit(emission, shared);
        }
        let unit = unit_of_scaled(target, &product);
        if let Unit::BlockScaled(format) = unit {
            let staging = Packed::new(product.operation(), product.codes(), format);
            return mma::tiles(
                emission,
                shared,
                &product,
                (Mma::BlockScaled(format), tile),
                &staging,
            );
        }
        if unit == Unit::Bf16
            && let Some(product) = wgmma::Product::of_codes(&product, target.capability())
        {
            return product.in_tiles(tile)?.emit(emission, shared);
        }
        return plain(emission, shared, &product, (unit, tile), Lines::default());
    }
    if let Some(product) = GroupedProduct::of(&emission.kernel.body) {
        let (unit, codes) = (unit_of_grouped(target, &product), product.codes());
        if let Some(product) = of_rows_of_codes(&product, codes.as_ref(), target) {
            return product.in_tiles(tile)?.emit(emission, shared);
        }
        if let (Unit::BlockScaled(format), Some(codes)) = (unit, codes) {
            let staging = Packed::new(product.operation(), &codes, format);
            let mma = Mma::BlockScaled(format);
            return mma::tiles(emission, shared, &product, (mma, tile), &staging);
        }
        let lines = product.lines(&emission.kernel.body);
        return plain(emission, shared, &product, (unit, tile), lines);
    }
    let Some(product) = Product::of(&emission.kernel.body) else {
        return super::r#loop::emit(emission);
    };
    let unit = unit_of_dense(target, &product);
    if let Some(half) = unit.half() {
        let (body, capability) = (&emission.kernel.body, target.capability());
        if let Some(product) = tcgen05::Product::of_numbers(body, &product, half, capability) {
            return product.in_tiles(tile)?.emit(emission, shared);
        }
        if let Some(product) = wgmma::Product::of_numbers(body, &product, half, capability) {
            return product.in_tiles(tile)?.emit(emission, shared);
        }
    }
    let lines = Lines::of(&emission.kernel.body, &product);
    plain(emission, shared, &product, (unit, tile), lines)
}

/// What makes a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// The warps' matrix units, from codes and block scales.
    BlockScaled(BlockScaled),
    /// The warps' matrix units, from numbers that bf16 represents.
    Bf16,
    /// The warps' matrix units, from numbers that f16 represents.
    F16,
    /// The cores that do one multiplication a thread.
    Fma,
}

impl Unit {
    /// What warpgroups and CTAs multiply, where warps multiply numbers without scales.
    fn half(self) -> Option<Half> {
        match self {
            Self::Bf16 => Some(Half::Bf16),
            Self::F16 => Some(Half::F16),
            Self::BlockScaled(_) | Self::Fma => None,
        }
    }

    /// The warps' instruction, where it multiplies numbers without scales.
    fn mma(self) -> Option<Mma> {
        match self {
            Self::Bf16 => Some(Mma::Bf16),
            Self::F16 => Some(Mma::F16),
            Self::BlockScaled(_) | Self::Fma => None,
        }
    }

    /// The matrix unit, where it multiplies numbers without scales.
    fn of_numbers(self) -> Option<MatrixUnit> {
        match self {
            Self::Bf16 | Self::F16 => Some(MatrixUnit::Half),
            Self::BlockScaled(_) | Self::Fma => None,
        }
    }
}

/// The matrix unit that makes the products of a body, where one does.
pub fn matrix_unit(body: &Graph, target: GpuTarget) -> Option<MatrixUnit> {
    let of_formats =
        |formats: [Format; 2]| match formats.iter().all(|format| format.element().bits() == 4) {
            true => MatrixUnit::Fp4,
            false => MatrixUnit::Fp8,
        };
    if let Some(product) = ScaledProduct::of(body) {
        if tcgen05::Product::of_codes(&product, product.codes(), target.capability()).is_some() {
            return Some(of_formats(product.formats()));
        }
        return match unit_of_scaled(target, &product) {
            Unit::BlockScaled(_) => Some(of_formats(product.formats())),
            unit => unit.of_numbers(),
        };
    }
    if let Some(product) = GroupedProduct::of(body) {
        let unit = unit_of_grouped(target, &product);
        let Some(codes) = product.codes() else {
            return unit.of_numbers();
        };
        let of_rows = of_rows_of_codes(&product, Some(&codes), target);
        let is_of_codes = of_rows.is_some() || matches!(unit, Unit::BlockScaled(_));
        return match is_of_codes {
            true => Some(of_formats(codes.map(|own| own.scaled_type.format()))),
            false => unit.of_numbers(),
        };
    }
    unit_of_dense(target, &Product::of(body)?).of_numbers()
}

/// Products of groups of rows of codes, where a CTA makes them.
fn of_rows_of_codes<'a>(
    product: &'a GroupedProduct<'a>,
    codes: Option<&'a [Codes<'a>; 2]>,
    target: GpuTarget,
) -> Option<tcgen05::Product<'a, GroupedProduct<'a>>> {
    let codes = codes.filter(|_| product.is_by_rows())?;
    tcgen05::Product::of_codes(product, codes, target.capability())
}

/// What makes a product of scaled tensors.
fn unit_of_scaled(target: GpuTarget, product: &ScaledProduct<'_>) -> Unit {
    unit_of_formats(target, product.formats())
}

/// What makes the products of groups.
fn unit_of_grouped(target: GpuTarget, product: &GroupedProduct<'_>) -> Unit {
    match product.formats() {
        Some(formats) => unit_of_formats(target, formats),
        None => unit_of_numbers(target, product.accumulator(), product.halves()),
    }
}

/// What of a warp or a thread makes a product of scaled tensors of those formats.
fn unit_of_formats(target: GpuTarget, formats: [Format; 2]) -> Unit {
    let [lhs, rhs] = formats;
    match BlockScaled::of(lhs) {
        Some(format) if lhs == rhs && target.has(Feature::BlockScaledMmaSync) => {
            Unit::BlockScaled(format)
        }
        _ if target.has(Feature::MmaSync) && formats.into_iter().all(is_exact_in_bf16) => {
            Unit::Bf16
        }
        _ => Unit::Fma,
    }
}

/// What makes a product of numbers.
fn unit_of_dense(target: GpuTarget, product: &Product<'_>) -> Unit {
    unit_of_numbers(target, product.accumulator, [0, 1].map(|n| product.half(n)))
}

/// The same of numbers that are summed in that type, and of the types of 16 bits that represent lhs and rhs.
fn unit_of_numbers(
    target: GpuTarget,
    accumulator: ElementType,
    halves: [Option<ElementType>; 2],
) -> Unit {
    match (accumulator, halves) {
        _ if !target.has(Feature::MmaSync) => Unit::Fma,
        (ElementType::F32, [Some(ElementType::Bf16), Some(ElementType::Bf16)]) => Unit::Bf16,
        (ElementType::F32, [Some(ElementType::F16), Some(ElementType::F16)]) => Unit::F16,
        _ => Unit::Fma,
    }
}

/// The warps' instruction that makes a product of numbers, if one does.
pub fn halves(target: GpuTarget, product: &Product<'_>) -> Option<Mma> {
    unit_of_dense(target, product).mma()
}

/// Whether bf16 represents every code times every block scale, as far as f32 does: significands of five bits at most
/// have room, and so have the magnitudes but those of the least scales and the least codes of eight bits, which are below
/// its smallest, 2⁻¹³³.
fn is_exact_in_bf16(format: Format) -> bool {
    match format {
        Format::Nvfp4
        | Format::Mxfp4
        | Format::Mxfp6E2m3
        | Format::Mxfp6E3m2
        | Format::Fp8E4m3
        | Format::Fp8E5m2 => true,
        Format::Mxfp8E4m3 | Format::Mxfp8E5m2 => false,
    }
}

/// A product of numbers, one by one where they are not copied as they lie in memory.
fn plain(
    emission: &mut Emission<'_, '_>,
    shared: &mut Shared,
    product: &impl Factors,
    (unit, tile): (Unit, Option<[i64; 2]>),
    lines: Lines,
) -> Result<Grid, Unsupported> {
    let Some(mma) = unit.mma() else {
        return fma::tiles(emission, shared, product, tile);
    };
    let staging = Copied::new(product, mma, lines);
    mma::tiles(emission, shared, product, (mma, tile), &staging)
}

/// That a product is not made in tiles that are asked for.
pub fn no_such_tile(
    operation: &Operation,
    [rows, columns]: [i64; 2],
    expected: &str,
) -> Unsupported {
    let reason = format!("is not made in tiles of {rows}x{columns}: expected {expected}");
    Unsupported::new(operation, reason)
}

/// A product of two tensors in flat dimensions, as tiles are made of it.
pub trait Factors {
    /// The op.
    fn operation(&self) -> &Operation;

    /// Products of a batch; rows and columns of each; contracted elements.
    fn extents(&self) -> [i64; 4];

    /// How many CTAs make the product in tiles of so many rows and columns, and which part this one makes.
    ///
    /// # Errors
    /// It cannot be computed here.
    fn part<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        tile: [i64; 2],
    ) -> Result<(i64, Part<'c>), Unsupported> {
        Ok(Part::of_equal_tiles(emission, self.extents(), tile))
    }

    /// Itself, where a tile's rows are those of a group whose size is known when it runs.
    fn groups_of_rows(&self) -> Option<&GroupedProduct<'_>> {
        None
    }

    /// Products of a batch, rows and columns of each, as if all groups had as many rows.
    fn even_extents(&self) -> [i64; 3] {
        let [batches, m, n, _] = self.extents();
        match self.groups_of_rows().map(GroupedProduct::groups) {
            Some(groups) => [groups, ceil_div(m, groups.max(1)), n],
            None => [batches, m, n],
        }
    }

    /// What sums are made in.
    fn accumulator(&self) -> ElementType;

    /// The element of an operand (0: lhs, 1: rhs) at places in the batch, among its rows or columns, and among the contracted
    /// elements, in the accumulator's type.
    ///
    /// # Errors
    /// It cannot be computed here.
    fn factor<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        operand: usize,
        places: [&Expression; 3],
    ) -> Result<Value<'c>, Unsupported>;

    /// Sums times what all of them are multiplied by, if that is anything.
    ///
    /// # Errors
    /// It cannot be computed here.
    fn scaled<'c>(
        &self,
        _emission: &mut Emission<'c, '_>,
        sums: &[Value<'c>],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        Ok(sums.to_vec())
    }

    /// Writes an element of the result at places in the batch, rows and columns. That is done once for each element, by one
    /// thread: an epilogue reads there what it may write over.
    ///
    /// # Errors
    /// It cannot be computed here.
    fn write<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sum: Value<'c>,
        places: [&Expression; 3],
    ) -> Result<(), Unsupported>;
}

impl Factors for Product<'_> {
    fn operation(&self) -> &Operation {
        self.operation
    }

    fn extents(&self) -> [i64; 4] {
        [&self.batch, &self.rows, &self.columns, &self.contracted].map(|shape| extent(shape))
    }

    fn accumulator(&self) -> ElementType {
        self.accumulator
    }

    fn factor<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        operand: usize,
        places: [&Expression; 3],
    ) -> Result<Value<'c>, Unsupported> {
        self.operand(emission, operand, places)
    }

    fn write<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sum: Value<'c>,
        places: [&Expression; 3],
    ) -> Result<(), Unsupported> {
        let indices = self.result_indices(places);
        let b = emission.elemental.builder();
        let rounded = self.rounded(&b, sum);
        match self.result_position(&indices) {
            Some(position) => {
                let base = emission.results[0];
                (emission.elemental).store(rounded, base, self.element, &position);
                Ok(())
            }
            None => epilogue::write(emission, self.operation, &indices, rounded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_exact_in_bf16;
    use tessera_numerics::Format;

    /// A code times a scale is what f32 makes of it; bf16 is its upper half.
    #[test]
    fn bf16_represents_what_it_is_said_to() {
        for format in Format::ALL {
            let element = format.element();
            let scales: Vec<f32> = match format.block() {
                Some((_, scale)) => (0..=255u8).map(|code| scale.decode(code)).collect(),
                None => vec![1.0],
            };
            let codes = (0..1u16 << element.bits()).map(|code| element.decode(code as u8));
            let is_exact = codes
                .flat_map(|code| scales.iter().map(move |scale| code * scale))
                .all(|number| number.is_nan() || number.to_bits() & 0xffff == 0);
            assert_eq!(is_exact, is_exact_in_bf16(format), "{format}");
        }
    }
}
