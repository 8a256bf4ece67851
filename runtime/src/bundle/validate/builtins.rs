//! Whether kernels that the runtime computes itself fit their operands and results.

use super::{Check, Checked};
use crate::bundle::manifest::{Gemm, Kernel};
use crate::bundle::strides::{Axis, describe, is_injective, span};
use crate::bundle::{
    Epilogue, GroupedGemm, Hadamard, HadamardMagnitudes, Quantize, ScaledDot, TensorType, ValueType,
};
use tessera_numerics::{
    ElementType, Format, HADAMARD_SIZES, Quantization, ScaleLayout, ScaledType,
};

impl Check<'_> {
    pub(super) fn gemm(&self, gemm: &Gemm, kernel: &Kernel, item: &str) -> Checked {
        self.ensure(
            matches!(gemm.element_type, ElementType::F32 | ElementType::F64),
            format!("{item}.element_type"),
            "f32 or f64",
            gemm.element_type,
        )?;
        let ([lhs, rhs], result) = self.buffers_of(kernel, "two operands", item)?;
        for (name, value_type, axes) in [
            ("lhs", lhs, gemm.lhs_axes()),
            ("rhs", rhs, gemm.rhs_axes()),
            ("result", result, gemm.result_axes()),
        ] {
            let item = format!("{item}.{name}");
            let tensor_type = self.tensor_of(value_type, gemm.element_type, &item)?;
            let elements = tensor_type.elements().unwrap_or(0);
            self.inside(
                &axes,
                elements,
                &format!("elements of {tensor_type}"),
                &item,
            )?;
        }
        self.injective(&gemm.result_axes(), &format!("{item}.result"))
    }

    pub(super) fn grouped_gemm(
        &self,
        grouped: GroupedGemm,
        kernel: &Kernel,
        item: &str,
    ) -> Checked {
        let ([lhs, rhs, sizes], result) = self.buffers_of(kernel, "three operands", item)?;
        let [lhs_item, rhs_item, result_item] =
            ["lhs", "rhs", "result"].map(|name| format!("{item}.{name}"));
        let element = lhs.as_tensor().map(|lhs| lhs.element_type);
        let element = element.filter(|e| matches!(e, ElementType::F32 | ElementType::F64));
        let Some(element) = element else {
            return Err(self.error(lhs_item, "a tensor of f32 or f64", lhs));
        };
        let lhs = self.tensor_of(lhs, element, &lhs_item)?;
        let rhs = self.tensor_of(rhs, element, &rhs_item)?;
        let axes = [grouped.lhs_contracting, grouped.rhs_contracting];
        let shapes = [&lhs.shape[..], &rhs.shape[..]];
        let shape = self.grouped(shapes, axes, sizes, item)?;
        let expected = ValueType::from(TensorType::new(element, shape));
        self.ensure(*result == expected, result_item, &expected, result)
    }

    pub(super) fn grouped_scaled_dot(&self, kernel: &Kernel, item: &str) -> Checked {
        let ([lhs, rhs, sizes], result) = self.buffers_of(kernel, "three operands", item)?;
        let [lhs_item, rhs_item, result_item] =
            ["lhs", "rhs", "result"].map(|name| format!("{item}.{name}"));
        let lhs = self.integer_scaled(lhs, &lhs_item)?;
        let rhs = self.integer_scaled(rhs, &rhs_item)?;
        self.ensure(
            lhs.format() == rhs.format(),
            rhs_item,
            lhs.format(),
            rhs.format(),
        )?;
        let axes = [lhs.axis(), rhs.axis()];
        let shape = self.grouped([lhs.shape(), rhs.shape()], axes, sizes, item)?;
        let expected = ValueType::from(TensorType::new(ElementType::F32, shape));
        self.ensure(*result == expected, result_item, &expected, result)
    }

    /// The shape of the result of a grouped product.
    fn grouped(
        &self,
        [lhs, rhs]: [&[usize]; 2],
        [left, right]: [usize; 2],
        sizes: &ValueType,
        item: &str,
    ) -> Checked<Vec<usize>> {
        let sizes = self.tensor_of(sizes, ElementType::I32, &format!("{item}.group_sizes"))?;
        let shape = match (lhs, rhs, &sizes.shape[..]) {
            (&[_, _], &[groups, _, _], &[count])
                if left < 2
                    && (1..3).contains(&right)
                    && lhs[left] == rhs[right]
                    && groups == count =>
            {
                vec![lhs[1 - left], rhs[3 - right]]
            }
            (&[_, _], &[_, _], &[count]) if left < 2 && right < 2 && lhs[left] == rhs[right] => {
                vec![count, lhs[1 - left], rhs[1 - right]]
            }
            _ => {
                let found = format!(
                    "{lhs:?} along {left}, {rhs:?} along {right}, sizes of {:?} groups",
                    sizes.shape
                );
                return Err(self.error(item, "matrices that groups of rows go with", found));
            }
        };
        Ok(shape)
    }

    pub(super) fn scaled_dot(&self, product: &ScaledDot, kernel: &Kernel, item: &str) -> Checked {
        let ([lhs, rhs], result) = match &product.epilogue {
            None => self.buffers_of(kernel, "two operands", item)?,
            Some(epilogue) => self.epilogue(epilogue, product, kernel, item)?,
        };
        let [lhs_item, rhs_item, result_item] =
            ["lhs", "rhs", "result"].map(|name| format!("{item}.{name}"));
        let lhs = self.integer_scaled(lhs, &lhs_item)?;
        let rhs = self.integer_scaled(rhs, &rhs_item)?;
        for (scaled, axes, item) in [
            (lhs, product.lhs_axes(), &lhs_item),
            (rhs, product.rhs_axes(), &rhs_item),
        ] {
            self.inside(&axes, scaled.rows(), &format!("rows of {scaled}"), item)?;
        }
        self.ensure(
            lhs.format() == rhs.format() && lhs.columns() == rhs.columns(),
            &rhs_item,
            format!("{} with an axis of {}", lhs.format(), lhs.columns()),
            rhs,
        )?;
        let result = match (&product.epilogue, result.as_tensor()) {
            (Some(_), Some(result)) => result,
            _ => self.tensor_of(result, ElementType::F32, &result_item)?,
        };
        let (axes, elements) = (product.result_axes(), result.elements().unwrap_or(0));
        self.inside(
            &axes,
            elements,
            &format!("elements of {result}"),
            &result_item,
        )?;
        self.injective(&axes, &result_item)
    }

    /// The operands of a product that something is computed of, and the first of the results, which are all alike.
    fn epilogue<'k>(
        &self,
        epilogue: &Epilogue,
        product: &ScaledDot,
        kernel: &'k Kernel,
        item: &str,
    ) -> Checked<(&'k [ValueType; 2], &'k ValueType)> {
        self.symbol(&epilogue.symbol, &format!("{item}.epilogue"))?;
        let (Some(factors), Some(first)) = (kernel.operands.first_chunk(), kernel.results.first())
        else {
            let found = format!("{} and {}", list(&kernel.operands), list(&kernel.results));
            return Err(self.error(item, "two operands or more, and results", found));
        };
        let layout = product.result;
        let has_neighbours = layout.row_stride == 1 || layout.column_stride == 1;
        self.ensure(
            has_neighbours || product.m == 1 || product.n == 1,
            format!("{item}.result"),
            "rows or columns of neighbours, for an epilogue",
            format!(
                "strides of {} and {}",
                layout.row_stride, layout.column_stride
            ),
        )?;
        let extent = |value: &ValueType| {
            let tensor = value.as_tensor()?;
            Some((tensor.elements()?, tensor.shape.last().copied()))
        };
        for (number, result) in kernel.results.iter().enumerate() {
            self.ensure(
                extent(result).is_some() && extent(result) == extent(first),
                format!("{item}.results[{number}]"),
                "a tensor with the elements and the last dimension of the first result",
                result,
            )?;
        }
        Ok((factors, first))
    }

    pub(super) fn quantize(&self, quantize: &Quantize, kernel: &Kernel, item: &str) -> Checked {
        self.ensure(
            !quantize.outputs.is_empty() && quantize.outputs.len() == kernel.results.len(),
            format!("{item}.outputs"),
            "at least one, as many as results",
            format!(
                "{} outputs and {} results",
                quantize.outputs.len(),
                kernel.results.len()
            ),
        )?;
        let (x, rest) = self.quantized(quantize, kernel, item)?;
        let x = self.tensor_of(&x, ElementType::F32, &format!("{item}.x"))?;
        let scalar = |element| ValueType::from(TensorType::new(element, []));
        let mut expected: Vec<ValueType> = Vec::new();
        if quantize.centred {
            let Some(&last) = x.shape.last() else {
                return Err(self.error(format!("{item}.x"), "a tensor with a dimension", x));
            };
            expected.push(TensorType::new(ElementType::F32, [last]).into());
        }
        for (number, (output, result)) in quantize.outputs.iter().zip(&kernel.results).enumerate() {
            let item = format!("{item}.outputs[{number}]");
            let scaled = self.scaled(result, &item)?;
            self.ensure(
                scaled.shape() == x.shape,
                &item,
                format!("a result of shape {:?}", x.shape),
                scaled,
            )?;
            Quantization::new(scaled.clone(), output.rule, output.rounding)
                .map_err(|error| self.error(&item, "a quantisation that there is", error))?;
            if let Some(negative) = &output.hadamard {
                let item = format!("{item}.hadamard");
                self.transform(negative, scaled.columns(), &item)?;
            }
            let amax = scaled.format().has_tensor_scale();
            expected.extend(amax.then(|| scalar(ElementType::F32)));
            let is_random = output.rounding.is_random();
            expected.extend(is_random.then(|| scalar(ElementType::Ui32)));
        }
        self.ensure(
            rest == expected,
            format!("{item}.operands"),
            format!("{} after the tensor", list(&expected)),
            list(rest),
        )
    }

    /// The type of the tensor that is quantised, and the operands beside it.
    fn quantized<'k>(
        &self,
        quantize: &Quantize,
        kernel: &'k Kernel,
        item: &str,
    ) -> Checked<(ValueType, &'k [ValueType])> {
        let Some(prologue) = &quantize.prologue else {
            return match kernel.operands.split_first() {
                Some((x, rest)) => Ok((x.clone(), rest)),
                None => Err(self.error(item, "a tensor to quantize", "no operands")),
            };
        };
        let item = format!("{item}.prologue");
        self.symbol(&prologue.symbol, &item)?;
        let Some(rest) = kernel.operands.get(prologue.operands..) else {
            let (expected, found) = (kernel.operands.len(), prologue.operands);
            return Err(self.error(item, format!("at most {expected} operands"), found));
        };
        let made = self.scaled(&kernel.results[0], &item)?;
        let made = TensorType::new(ElementType::F32, made.shape());
        Ok((made.into(), rest))
    }

    pub(super) fn dequantize(&self, kernel: &Kernel, item: &str) -> Checked {
        let ([scaled], result) = self.buffers_of(kernel, "one operand", item)?;
        let scaled = self.scaled(scaled, &format!("{item}.operand"))?;
        let expected = ValueType::from(TensorType::new(ElementType::F32, scaled.shape()));
        self.ensure(
            *result == expected,
            format!("{item}.result"),
            &expected,
            result,
        )
    }

    pub(super) fn relayout(&self, kernel: &Kernel, item: &str) -> Checked {
        let ([scaled], result) = self.buffers_of(kernel, "one operand", item)?;
        let from = self.scaled(scaled, &format!("{item}.operand"))?;
        let item = format!("{item}.result");
        let to = self.scaled(result, &item)?;
        self.ensure(
            from.can_be_laid_out_as(to),
            item,
            format!(
                "{from} along the same axis, or the other of the last two where blocks are square"
            ),
            to,
        )
    }

    pub(super) fn axis_sums(&self, kernel: &Kernel, item: &str) -> Checked {
        if kernel.operands.len() == 2 {
            return self.weighted_sums(kernel, item);
        }
        let ([scaled], result) = self.buffers_of(kernel, "one operand or two", item)?;
        let scaled = self.scaled(scaled, &format!("{item}.operand"))?;
        let mut shape = scaled.shape().to_vec();
        shape.remove(scaled.axis());
        let expected = ValueType::from(TensorType::new(ElementType::F32, shape));
        self.ensure(
            *result == expected,
            format!("{item}.result"),
            &expected,
            result,
        )
    }

    fn weighted_sums(&self, kernel: &Kernel, item: &str) -> Checked {
        let ([scaled, weights], result) = self.buffers_of(kernel, "two operands", item)?;
        let scaled = self.scaled(scaled, &format!("{item}.operand"))?;
        let item_of = |name: &str| format!("{item}.{name}");
        let weights = self.tensor_of(weights, ElementType::F32, &item_of("weights"))?;
        let elements = weights.elements().unwrap_or(0);
        let (columns, rows) = (scaled.columns(), scaled.rows());
        let are_vectors = match elements.checked_div(columns) {
            None => elements == 0,
            Some(vectors) => elements % columns == 0 && rows.is_multiple_of(vectors),
        };
        self.ensure(
            are_vectors,
            item_of("weights"),
            format!("vectors of {columns}, as many as divide {rows}"),
            weights,
        )?;
        let result = self.tensor_of(result, ElementType::F32, &item_of("result"))?;
        self.ensure(
            result.elements() == Some(rows),
            item_of("result"),
            format!("a tensor of {rows} elements"),
            result,
        )
    }

    pub(super) fn hadamard(&self, hadamard: &Hadamard, kernel: &Kernel, item: &str) -> Checked {
        let ([x], result) = self.buffers_of(kernel, "one operand", item)?;
        let x_type = self.tensor_of(x, ElementType::F32, &format!("{item}.operand"))?;
        self.ensure(result == x, format!("{item}.result"), x, result)?;
        self.transform_of(hadamard, x_type, item)
    }

    pub(super) fn hadamard_magnitudes(
        &self,
        magnitudes: &HadamardMagnitudes,
        kernel: &Kernel,
        item: &str,
    ) -> Checked {
        let ([x, rest @ ..], [result]) = (&kernel.operands[..], &kernel.results[..]) else {
            let found = format!("{} results", kernel.results.len());
            return Err(self.error(item, "a tensor and one result", found));
        };
        let x_type = self.tensor_of(x, ElementType::F32, &format!("{item}.operand"))?;
        let transform = &magnitudes.transform;
        self.transform_of(transform, x_type, &format!("{item}.transform"))?;
        let Some((&last, others)) = x_type.shape.split_last() else {
            return Err(self.error(item, "a tensor with a dimension", x));
        };
        self.ensure(
            transform.axis + 2 >= x_type.shape.len(),
            format!("{item}.transform.axis"),
            format!("one of the last two dimensions of {x}"),
            transform.axis,
        )?;
        let mean = ValueType::from(TensorType::new(ElementType::F32, [last]));
        let expected: Vec<ValueType> = magnitudes.centred.then_some(mean).into_iter().collect();
        self.ensure(
            rest == expected,
            format!("{item}.operands"),
            format!("{} after the tensor", list(&expected)),
            list(rest),
        )?;
        let rows = ValueType::from(TensorType::new(ElementType::F32, others));
        let all = ValueType::from(TensorType::new(ElementType::F32, []));
        self.ensure(
            *result == rows || *result == all,
            format!("{item}.result"),
            format!("{rows} or {all}"),
            result,
        )
    }

    /// A transform along a dimension of a tensor.
    fn transform_of(&self, hadamard: &Hadamard, x: &TensorType, item: &str) -> Checked {
        let size = hadamard.negative.len();
        self.size_of_transform(size, &format!("{item}.negative"))?;
        let axis = x.shape.get(hadamard.axis);
        self.ensure(
            axis.is_some_and(|extent| extent.is_multiple_of(size)),
            format!("{item}.axis"),
            format!("a dimension of {x} that is a multiple of {size}"),
            hadamard.axis,
        )
    }

    /// A transform of so many elements.
    fn transform(&self, negative: &[bool], extent: usize, item: &str) -> Checked {
        let size = negative.len();
        self.size_of_transform(size, item)?;
        self.ensure(
            extent.is_multiple_of(size),
            item,
            format!("an axis that is a multiple of {size}"),
            extent,
        )
    }

    fn size_of_transform(&self, size: usize, item: &str) -> Checked {
        self.ensure(
            HADAMARD_SIZES.contains(&size),
            item,
            format!("{HADAMARD_SIZES:?} signs"),
            size,
        )
    }

    pub(super) fn orthonormalize(&self, kernel: &Kernel, item: &str) -> Checked {
        let ([x], result) = self.buffers_of(kernel, "one operand", item)?;
        let x_item = format!("{item}.operand");
        let x_type = self.tensor_of(x, ElementType::F32, &x_item)?;
        self.ensure(
            matches!(x_type.shape[..], [.., rows, columns] if rows >= columns),
            x_item,
            "matrices with at least as many rows as columns",
            x,
        )?;
        self.ensure(result == x, format!("{item}.result"), x, result)
    }

    /// The operands of a kernel that has so many and one result.
    fn buffers_of<'k, const N: usize>(
        &self,
        kernel: &'k Kernel,
        operands: &str,
        item: &str,
    ) -> Checked<(&'k [ValueType; N], &'k ValueType)> {
        match (
            <&[ValueType; N]>::try_from(&kernel.operands[..]),
            &kernel.results[..],
        ) {
            (Ok(found), [result]) => Ok((found, result)),
            _ => Err(self.error(
                item,
                format!("{operands} and one result"),
                format!(
                    "{} operands and {} results",
                    kernel.operands.len(),
                    kernel.results.len()
                ),
            )),
        }
    }

    fn tensor_of<'k>(
        &self,
        value_type: &'k ValueType,
        element_type: ElementType,
        item: &str,
    ) -> Checked<&'k TensorType> {
        let Some(tensor_type) = value_type.as_tensor() else {
            return Err(self.error(item, "a tensor", value_type));
        };
        self.ensure(
            tensor_type.element_type == element_type,
            item,
            format!("elements of {element_type}"),
            tensor_type,
        )?;
        Ok(tensor_type)
    }

    fn scaled<'k>(&self, value_type: &'k ValueType, item: &str) -> Checked<&'k ScaledType> {
        let error = || self.error(item, "a scaled tensor", value_type);
        value_type.as_scaled().ok_or_else(error)
    }

    /// A scaled tensor that is multiplied in integers.
    fn integer_scaled<'k>(&self, value_type: &'k ValueType, item: &str) -> Checked<&'k ScaledType> {
        let scaled = self.scaled(value_type, item)?;
        self.ensure(
            matches!(scaled.format(), Format::Nvfp4 | Format::Mxfp4)
                && scaled.layout() == ScaleLayout::Linear,
            item,
            "nvfp4 or mxfp4 with linear block scales",
            scaled,
        )?;
        Ok(scaled)
    }

    fn inside(&self, axes: &[Axis], count: usize, of: &str, item: &str) -> Checked {
        self.ensure(
            span(axes).is_some_and(|span| span <= count),
            item,
            format!("strides that stay inside the {count} {of}"),
            describe(axes),
        )
    }

    fn injective(&self, axes: &[Axis], item: &str) -> Checked {
        self.ensure(
            is_injective(axes),
            item,
            "strides that give each element a place of its own",
            describe(axes),
        )
    }
}

/// `(tensor<f32>, tensor<ui32>)`.
fn list(types: &[ValueType]) -> String {
    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
    format!("({})", types.join(", "))
}
