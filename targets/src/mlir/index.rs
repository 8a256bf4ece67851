//! Index expressions: where an element is, as a function of loop counters and of numbers read at run time.
//!
//! An [`Expression`] is a sum of integer multiples of atoms; an atom is a variable, or the quotient or remainder of an
//! expression by a constant. Every variable knows its range, and that is what makes reshapes disappear: with `j` in
//! `0..256`, `(256 i + j) / 256` is `i` and `(256 i + j) mod 256` is `j`; and `256 (x / 256) + x mod 256` is `x`.

use std::fmt;

/// A loop counter, or a number that is known at run time only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variable {
    /// Which one; outer loops have smaller numbers than the loops inside them.
    pub number: u32,
    /// The least value it takes.
    pub lower: i64,
    /// The greatest value it takes.
    pub upper: i64,
}

/// What a sum is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Atom {
    /// A variable.
    Variable(Variable),
    /// ⌊expression / divisor⌋.
    Quotient(Box<Expression>, i64),
    /// expression − divisor · ⌊expression / divisor⌋.
    Remainder(Box<Expression>, i64),
}

/// A sum of multiples of atoms, and a constant. Equal sums are equal values of this type: atoms are sorted, each there
/// once, none with coefficient 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expression {
    terms: Vec<(Atom, i64)>,
    constant: i64,
}

impl Expression {
    /// A number known at compile time.
    pub fn constant(constant: i64) -> Self {
        Self {
            terms: Vec::new(),
            constant,
        }
    }

    /// A variable.
    pub fn variable(variable: Variable) -> Self {
        if variable.lower == variable.upper {
            return Self::constant(variable.lower);
        }
        Self::atom(Atom::Variable(variable))
    }

    fn atom(atom: Atom) -> Self {
        Self {
            terms: vec![(atom, 1)],
            constant: 0,
        }
    }

    /// The multiples it is the sum of.
    pub fn terms(&self) -> &[(Atom, i64)] {
        &self.terms
    }

    /// The constant it adds.
    pub fn offset(&self) -> i64 {
        self.constant
    }

    /// Its value, where that is known at compile time.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The least and the greatest value it can take, as far as the ranges of its atoms say.
    pub fn range(&self) -> (i64, i64) {
        let mut range = (self.constant, self.constant);
        for (atom, coefficient) in &self.terms {
            let (lower, upper) = atom.range();
            let (a, b) = (lower * coefficient, upper * coefficient);
            range = (range.0 + a.min(b), range.1 + a.max(b));
        }
        range
    }

    /// The coefficient of a variable, or `None` where the expression is not affine in it: where it stands in a quotient
    /// or a remainder.
    pub fn stride(&self, number: u32) -> Option<i64> {
        let mut stride = 0;
        for (atom, coefficient) in &self.terms {
            match atom {
                Atom::Variable(variable) if variable.number == number => stride += coefficient,
                Atom::Variable(_) => {}
                Atom::Quotient(inner, _) | Atom::Remainder(inner, _) => {
                    if inner.mentions(number) {
                        return None;
                    }
                }
            }
        }
        Some(stride)
    }

    /// Whether a variable stands anywhere in it.
    pub fn mentions(&self, number: u32) -> bool {
        self.terms
            .iter()
            .any(|(atom, _)| atom.innermost(&|n| n == number).is_some())
    }

    /// The sum of two expressions.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut terms = self.terms.clone();
        terms.extend(other.terms.iter().cloned());
        Self::normal(terms, self.constant + other.constant)
    }

    /// The expression and a constant.
    #[must_use]
    pub fn plus_constant(&self, constant: i64) -> Self {
        Self {
            terms: self.terms.clone(),
            constant: self.constant + constant,
        }
    }

    /// A multiple of the expression.
    #[must_use]
    pub fn times(&self, factor: i64) -> Self {
        if factor == 0 {
            return Self::constant(0);
        }
        Self {
            terms: (self.terms.iter())
                .map(|(atom, coefficient)| (atom.clone(), coefficient * factor))
                .collect(),
            constant: self.constant * factor,
        }
    }

    /// ⌊self / divisor⌋ for a positive divisor.
    #[must_use]
    pub fn quotient(&self, divisor: i64) -> Self {
        debug_assert!(divisor > 0);
        let (multiples, rest) = self.split(divisor);
        let Some(rest) = rest else {
            return multiples;
        };
        multiples.plus(&rest.simple_quotient(divisor))
    }

    /// The remainder of [`quotient`](Self::quotient): 0 or more, less than the divisor.
    #[must_use]
    pub fn remainder(&self, divisor: i64) -> Self {
        debug_assert!(divisor > 0);
        match self.split(divisor).1 {
            None => Self::constant(0),
            Some(rest) => rest.simple_remainder(divisor),
        }
    }

    /// What is a multiple of the divisor, divided by it, and the rest, if any; the rest's constant is in `0..divisor`.
    fn split(&self, divisor: i64) -> (Self, Option<Self>) {
        let (mut multiples, mut rest) = (Vec::new(), Vec::new());
        for (atom, coefficient) in &self.terms {
            if coefficient % divisor == 0 {
                multiples.push((atom.clone(), coefficient / divisor));
            } else {
                rest.push((atom.clone(), *coefficient));
            }
        }
        let multiples = Self {
            terms: multiples,
            constant: self.constant.div_euclid(divisor),
        };
        let rest = Self {
            terms: rest,
            constant: self.constant.rem_euclid(divisor),
        };
        let is_zero = rest.as_constant() == Some(0);
        (multiples, (!is_zero).then_some(rest))
    }

    fn simple_quotient(self, divisor: i64) -> Self {
        let (lower, upper) = self.range();
        if lower.div_euclid(divisor) == upper.div_euclid(divisor) {
            return Self::constant(lower.div_euclid(divisor));
        }
        if let Some((coarse, factor, _)) = self.coarsen(divisor) {
            return coarse.quotient(divisor / factor);
        }
        if let ([(atom, 1)], 0) = (&self.terms[..], self.constant) {
            match atom {
                Atom::Quotient(inner, first) => return inner.quotient(first * divisor),
                Atom::Remainder(inner, first) if first % divisor == 0 => {
                    return inner.quotient(divisor).remainder(first / divisor);
                }
                Atom::Variable(_) | Atom::Remainder(..) => {}
            }
        }
        Self::atom(Atom::Quotient(Box::new(self), divisor))
    }

    fn simple_remainder(self, divisor: i64) -> Self {
        let (lower, upper) = self.range();
        let quotient = lower.div_euclid(divisor);
        if quotient == upper.div_euclid(divisor) {
            return self.plus_constant(-quotient * divisor);
        }
        if let Some((coarse, factor, fine)) = self.coarsen(divisor) {
            return coarse.remainder(divisor / factor).times(factor).plus(&fine);
        }
        if let ([(Atom::Remainder(inner, first), 1)], 0) = (&self.terms[..], self.constant)
            && first % divisor == 0
        {
            return inner.remainder(divisor);
        }
        Self::atom(Atom::Remainder(Box::new(self), divisor))
    }

    /// Writes the expression as `factor · coarse + fine` with `fine` in `0..factor`, where `factor` > 1 divides
    /// `divisor`. Then only `coarse` matters to a division.
    fn coarsen(&self, divisor: i64) -> Option<(Self, i64, Self)> {
        let mut factors: Vec<i64> = (self.terms.iter())
            .map(|(_, coefficient)| gcd(coefficient.abs(), divisor))
            .filter(|&factor| factor > 1)
            .collect();
        factors.sort_unstable();
        factors.dedup();
        factors.into_iter().rev().find_map(|factor| {
            let (coarse, fine) = self.split(factor);
            let fine = fine.unwrap_or_else(|| Self::constant(0));
            let (lower, upper) = fine.range();
            (lower >= 0 && upper < factor && !coarse.terms.is_empty())
                .then_some((coarse, factor, fine))
        })
    }

    /// Sorts, merges equal atoms, and puts quotients and remainders of one expression together again.
    fn normal(mut terms: Vec<(Atom, i64)>, constant: i64) -> Self {
        terms.sort_unstable();
        let mut merged: Vec<(Atom, i64)> = Vec::with_capacity(terms.len());
        for (atom, coefficient) in terms {
            match merged.last_mut() {
                Some((last, sum)) if *last == atom => *sum += coefficient,
                _ => merged.push((atom, coefficient)),
            }
        }
        merged.retain(|(_, coefficient)| *coefficient != 0);
        let sum = Self {
            terms: merged,
            constant,
        };
        sum.rejoined().unwrap_or(sum)
    }

    /// `k c (x / c) + k (x mod c)` is `k x`.
    fn rejoined(&self) -> Option<Self> {
        self.terms.iter().find_map(|(atom, coefficient)| {
            let Atom::Remainder(inner, divisor) = atom else {
                return None;
            };
            let quotient = inner.quotient(*divisor);
            let [(quotient_atom, 1)] = &quotient.terms[..] else {
                return None;
            };
            let wanted = (quotient_atom.clone(), coefficient * divisor);
            self.terms.contains(&wanted).then(|| {
                let removed = wanted.1 * quotient.constant;
                let rest = (self.terms.iter())
                    .filter(|&term| *term != wanted && term.0 != *atom)
                    .cloned()
                    .chain(inner.times(*coefficient).terms)
                    .collect();
                Self::normal(rest, self.constant - removed + inner.constant * coefficient)
            })
        })
    }
}

impl Atom {
    fn range(&self) -> (i64, i64) {
        match self {
            Self::Variable(variable) => (variable.lower, variable.upper),
            Self::Quotient(inner, divisor) => {
                let (lower, upper) = inner.range();
                (lower.div_euclid(*divisor), upper.div_euclid(*divisor))
            }
            Self::Remainder(_, divisor) => (0, divisor - 1),
        }
    }

    /// The greatest number of a variable in it that is accepted by `filter`: the innermost such loop it depends on.
    fn innermost(&self, filter: &dyn Fn(u32) -> bool) -> Option<u32> {
        match self {
            Self::Variable(variable) => filter(variable.number).then_some(variable.number),
            Self::Quotient(inner, _) | Self::Remainder(inner, _) => (inner.terms.iter())
                .filter_map(|(atom, _)| atom.innermost(filter))
                .max(),
        }
    }

    /// The innermost variable it depends on.
    pub fn depth(&self) -> u32 {
        self.innermost(&|_| true).unwrap_or(0)
    }
}

/// The row-major position of the element at `indices` in a tensor of that shape.
pub fn linearize(indices: &[Expression], shape: &[usize]) -> Expression {
    let mut position = Expression::constant(0);
    let mut stride = 1;
    for (index, &dimension) in indices.iter().zip(shape).rev() {
        position = position.plus(&index.times(stride));
        stride *= dimension as i64;
    }
    position
}

/// The indices of the element at a row-major position in a tensor of that shape, none of whose dimensions is 0.
pub fn delinearize(position: &Expression, shape: &[usize]) -> Vec<Expression> {
    let mut rest = position.clone();
    let mut indices: Vec<Expression> = (shape.iter().enumerate().rev())
        .map(|(i, &dimension)| {
            let dimension = dimension as i64;
            let index = if i == 0 {
                rest.clone()
            } else {
                rest.remainder(dimension)
            };
            if i > 0 {
                rest = rest.quotient(dimension);
            }
            index
        })
        .collect();
    indices.reverse();
    indices
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (atom, coefficient)) in self.terms.iter().enumerate() {
            if i > 0 {
                f.write_str(" + ")?;
            }
            if *coefficient != 1 {
                write!(f, "{coefficient} ")?;
            }
            match atom {
                Atom::Variable(variable) => write!(f, "v{}", variable.number)?,
                Atom::Quotient(inner, divisor) => write!(f, "({inner})/{divisor}")?,
                Atom::Remainder(inner, divisor) => write!(f, "({inner})%{divisor}")?,
            }
        }
        match (self.terms.is_empty(), self.constant) {
            (true, constant) => write!(f, "{constant}"),
            (false, 0) => Ok(()),
            (false, constant) => write!(f, " + {constant}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(number: u32, extent: i64) -> Expression {
        Expression::variable(Variable {
            number,
            lower: 0,
            upper: extent - 1,
        })
    }

    #[test]
    fn splitting_a_dimension_and_joining_it_again_is_nothing() {
        let x = variable(0, 8 * 256 * 64);
        let indices = delinearize(&x, &[8, 256, 64]);
        assert_eq!(indices[0].to_string(), "(v0)/16384");
        assert_eq!(indices[2].to_string(), "(v0)%64");
        assert_eq!(linearize(&indices, &[8, 256, 64]), x);
    }

    #[test]
    fn joining_dimensions_and_splitting_them_again_is_nothing() {
        let indices = [variable(0, 8), variable(1, 256), variable(2, 64)];
        let position = linearize(&indices, &[8, 256, 64]);
        assert_eq!(position.to_string(), "16384 v0 + 64 v1 + v2");
        assert_eq!(delinearize(&position, &[8, 256, 64]), indices);
    }

    #[test]
    fn a_split_inside_a_dimension_keeps_the_inner_part_affine() {
        // [8, 64] -> [8, 4, 16]: the position in a row of 16 is the innermost counter alone.
        let position = linearize(
            &[variable(0, 8), variable(1, 4), variable(2, 16)],
            &[8, 4, 16],
        );
        let indices = delinearize(&position, &[8, 64]);
        assert_eq!(indices[1].to_string(), "16 v1 + v2");
    }

    #[test]
    fn a_broadcast_over_rows_needs_the_remainder() {
        let x = variable(0, 1024);
        assert_eq!(x.remainder(256).to_string(), "(v0)%256");
        assert_eq!(x.remainder(256).stride(0), None);
        assert_eq!(x.times(3).stride(0), Some(3));
        assert_eq!(x.stride(1), Some(0));
    }

    #[test]
    fn constants_join_too() {
        let x = variable(0, 1000).plus_constant(7);
        let joined = x.quotient(10).times(10).plus(&x.remainder(10));
        assert_eq!(joined, x);
    }

    /// Every simplification against plain arithmetic, on all values of two variables.
    #[test]
    fn simplifications_keep_the_value() {
        fn value(e: &Expression, i: i64, j: i64) -> i64 {
            let terms = e.terms.iter().map(|(atom, coefficient)| {
                coefficient
                    * match atom {
                        Atom::Variable(v) => [i, j][v.number as usize],
                        Atom::Quotient(inner, d) => value(inner, i, j).div_euclid(*d),
                        Atom::Remainder(inner, d) => value(inner, i, j).rem_euclid(*d),
                    }
            });
            e.constant + terms.sum::<i64>()
        }
        let (x, y) = (variable(0, 6), variable(1, 10));
        for (a, b, c) in [
            (1, 1, 0),
            (10, 1, 0),
            (4, 2, 3),
            (-3, 5, -7),
            (20, 2, 1),
            (6, 9, 5),
        ] {
            let e = x.times(a).plus(&y.times(b)).plus_constant(c);
            for (d1, d2) in [(1, 2), (2, 3), (4, 2), (5, 5), (10, 3), (20, 4), (60, 7)] {
                let q = e.quotient(d1).quotient(d2);
                let r = e.remainder(d1 * d2).quotient(d1);
                let m = e.quotient(d1).remainder(d2);
                let joined = e.quotient(d1).times(d1 * 3).plus(&e.remainder(d1).times(3));
                for (i, j) in (0..6).flat_map(|i| (0..10).map(move |j| (i, j))) {
                    let v = a * i + b * j + c;
                    let context = format!("{e} at {i}, {j} by {d1}, {d2}");
                    assert_eq!(
                        value(&q, i, j),
                        v.div_euclid(d1).div_euclid(d2),
                        "{context}"
                    );
                    assert_eq!(
                        value(&r, i, j),
                        v.rem_euclid(d1 * d2).div_euclid(d1),
                        "{context}"
                    );
                    assert_eq!(
                        value(&m, i, j),
                        v.div_euclid(d1).rem_euclid(d2),
                        "{context}"
                    );
                    assert_eq!(value(&joined, i, j), 3 * v, "{context}");
                }
            }
        }
    }
}
