//! The scheduler of persistent kernels: as many CTAs as the chip has processors, or clusters of as many together, take tiles
//! in turn, in an order that the shape fixes.

use crate::mlir::elemental::Unsupported;
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, Value};
use crate::nvptx::thread;

/// Which tiles there are, and how many clusters of CTAs share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// CTAs of a cluster, which make a tile together.
    pub cluster: i64,
    /// Clusters, no more than tiles.
    pub clusters: i64,
    /// Products of the batch; tiles down and across in each.
    pub tiles: [i64; 3],
    /// Tiles down that are made before the next ones across: what CTAs make at the same time shares operands. It divides
    /// those that are down.
    pub band: i64,
}

/// A tile of a cluster.
pub struct Round {
    /// The cluster's tiles before it.
    pub number: Expression,
    /// The product of the batch.
    pub batch: Expression,
    /// How many tiles are above and left of it.
    pub tile: [Expression; 2],
}

impl Rounds {
    /// Those of a chip of so many processors, each of which makes a tile.
    pub fn new(tiles: [i64; 3], processors: i64) -> Self {
        Self::of_clusters(tiles, 1, processors)
    }

    /// Those of a chip of so many processors, of which so many make a tile together.
    pub fn of_clusters(tiles: [i64; 3], cluster: i64, processors: i64) -> Self {
        /// The root of the number of processors, or somewhat more: a band's rows are as many as columns beside them.
        const BAND: i64 = 16;
        let down = tiles[1];
        let band = (1..=BAND).rev().find(|band| down % band == 0).unwrap_or(1);
        Self {
            cluster,
            clusters: tiles.iter().product::<i64>().min(processors / cluster),
            tiles,
            band,
        }
    }

    /// Those of tiles whose number is known when it runs, row by row: what there is comes before what there is not.
    pub fn in_order([down, across]: [i64; 2], processors: i64) -> Self {
        Self {
            cluster: 1,
            clusters: (down * across).min(processors),
            tiles: [1, down, across],
            band: 1,
        }
    }

    /// CTAs of the grid.
    pub fn ctas(&self) -> i64 {
        self.clusters * self.cluster
    }

    /// Tiles that a cluster has, at most.
    pub fn most(&self) -> i64 {
        let all: i64 = self.tiles.iter().product();
        (all + self.clusters - 1) / self.clusters
    }

    /// The cluster's number.
    fn own<'c>(&self, b: &Builder<'c>) -> Value<'c> {
        match self.cluster {
            1 => thread::cta(b),
            _ => thread::cluster(b),
        }
    }

    /// How many tiles the cluster has: of all those from its own number on in steps of the number of clusters.
    pub fn count<'c>(&self, b: &Builder<'c>) -> Value<'c> {
        if self.most() == 1 {
            return b.constant_i64(1);
        }
        let all: i64 = self.tiles.iter().product();
        let last = b.constant_i64(all + self.clusters - 1);
        let rest = b.binary("arith.subi", last, self.own(b));
        b.binary("arith.divui", rest, b.constant_i64(self.clusters))
    }

    /// How many of the first so many tiles the cluster has, where these are `all` at most.
    pub fn count_of<'c>(&self, b: &Builder<'c>, tiles: Value<'c>) -> Value<'c> {
        let last = b.binary("arith.addi", tiles, b.constant_i64(self.clusters - 1));
        let rest = b.binary("arith.subi", last, self.own(b));
        b.binary("arith.divui", rest, b.constant_i64(self.clusters))
    }

    /// Does something for each tile of the cluster.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn for_each<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        body: impl FnOnce(&mut Emission<'c, 'g>, &Round) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let numbers = [b.constant_i64(0), self.count(&b)];
        self.for_each_of(emission, numbers, body)
    }

    /// Does something for each of the cluster's tiles from one number on and before another.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn for_each_of<'c, 'g>(
        &self,
        emission: &mut Emission<'c, 'g>,
        [from, to]: [Value<'c>; 2],
        body: impl FnOnce(&mut Emission<'c, 'g>, &Round) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        let [batches, down, across] = self.tiles;
        let all = batches * down * across;
        let b = emission.elemental.builder();
        let own = self.own(&b);
        let bounds = [from, to, b.constant_i64(1)];
        emission.for_bounds(bounds, (0, self.most() - 1), None, |emission, number| {
            let before = emission.elemental.number(&number.times(self.clusters));
            let b = emission.elemental.builder();
            let place = b.binary("arith.addi", before, own);
            let place = Expression::variable(emission.elemental.variable(place, 0, all - 1));
            let in_product = place.remainder(down * across);
            let in_band = in_product.remainder(self.band * across);
            let above = in_product.quotient(self.band * across).times(self.band);
            let round = Round {
                number,
                batch: place.quotient(down * across),
                tile: [
                    above.plus(&in_band.remainder(self.band)),
                    in_band.quotient(self.band),
                ],
            };
            body(emission, &round)
        })
    }
}

/// Which of so many is used for the use of that number when they take turns, and the parity of its own uses: 0 for the
/// first, 1 for the second, 0 …
pub fn turn<'c>(emission: &mut Emission<'c, '_>, number: &Expression, of: i64) -> [Value<'c>; 2] {
    let parity = number.quotient(of).remainder(2);
    [number.remainder(of), parity].map(|e| {
        let number = emission.elemental.number(&e);
        let b = emission.elemental.builder();
        b.cast("arith.trunci", number, b.integer(32))
    })
}

#[cfg(test)]
mod tests {
    use super::Rounds;

    #[test]
    fn a_cta_has_several_tiles_where_there_are_more_than_processors() {
        let one = Rounds::new([3, 4, 5], 132);
        assert_eq!((one.ctas(), one.most()), (60, 1));
        let several = Rounds::new([1, 32, 16], 132);
        assert_eq!((several.ctas(), several.most()), (132, 4));
    }

    #[test]
    fn a_cluster_has_whole_tiles() {
        let pairs = Rounds::of_clusters([1, 8, 10], 2, 148);
        assert_eq!((pairs.clusters, pairs.ctas(), pairs.most()), (74, 148, 2));
        let few = Rounds::of_clusters([1, 1, 3], 2, 148);
        assert_eq!((few.clusters, few.ctas(), few.most()), (3, 6, 1));
    }

    #[test]
    fn bands_divide_the_tiles_that_are_down() {
        for (down, band) in [(1, 1), (5, 5), (16, 16), (33, 11), (64, 16), (17, 1)] {
            assert_eq!(Rounds::new([1, down, 4], 132).band, band);
        }
    }
}
