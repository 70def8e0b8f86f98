//! Clusters of equal size. Each point goes where it costs least: its distance and the price of the cluster, which rises where more
//! points want to go than there is room (an auction, Bertsekas 1979). So the sum of the distances comes near to the least that
//! the sizes allow, and only the few that are left over are placed one by one.

use std::time::Instant;

use super::bid::{self, Bid};
use super::fitted::Iteration;
use super::iterate::Lloyd;
use super::options::KMeans;
use super::points::{Points, Room};
use super::progress::{Batch, Outcome, Progress};
use super::views::Rows;
use crate::gpu::{Bound, Buffer, Context, Work};
use crate::{Error, Result};

/// Most rounds of an auction: while the centroids are still far from where they end, and then. Prices last, so that what few rounds
/// leave undone the next iteration goes on with.
const ROUNDS: [u32; 2] = [8, 100];

/// An auction ends where no more than one point of so many is in a cluster without room for it.
const PLACED: usize = 1000;

/// A price rises by at least the mean regret over this, so that points of equal regrets do not hold an auction up.
const LEAST_RISE: f64 = 256.0;

/// What each point chose.
struct Bids {
    labels: Vec<u32>,
    /// How much more the next cluster costs it.
    regrets: Vec<f32>,
}

/// What asks points for their cheapest cluster.
struct Bidding<'a> {
    gpu: &'a Context,
    points: &'a Points<'a>,
    prices: Buffer,
    labels: Buffer,
    regrets: Buffer,
    /// For each block.
    passes: Vec<Bound>,
}

impl<'a> Bidding<'a> {
    /// Of these points among the centroids of a loop, as they are when it is asked.
    fn new(points: &'a Points<'a>, lloyd: &'a Lloyd<'_>) -> Result<Self> {
        let (gpu, centroids) = (lloyd.labeller.gpu, &lloyd.labeller.centroids);
        let kernel = Bid::load(gpu, points.layout())?;
        let prices = Buffer::new(gpu, "prices", centroids.rows(), 4)?;
        let labels = Buffer::new(gpu, "bids", points.largest(), 4)?;
        let regrets = Buffer::new(gpu, "regrets", points.largest(), 4)?;
        let (among, to) = ((centroids, &prices), (&labels, &regrets));
        let bind = |laid| kernel.bind(gpu, laid, among, to, (points.d(), lloyd.metric));
        let passes = points.blocks().iter().map(|block| bind(block.laid())).collect::<Result<_>>()?;
        Ok(Self { gpu, points, prices, labels, regrets, passes })
    }

    fn bids(&self, prices: &[f32]) -> Result<Bids> {
        let Self { gpu, points, .. } = *self;
        self.prices.write(gpu, prices)?;
        let n = points.n() as usize;
        let mut bids = Bids { labels: Vec::with_capacity(n), regrets: Vec::with_capacity(n) };
        let mut read = |rows: usize| {
            let (labels, regrets): (Vec<u32>, Vec<f32>) = (self.labels.read(gpu)?, self.regrets.read(gpu)?);
            bids.labels.extend(&labels[..rows]);
            bids.regrets.extend(&regrets[..rows]);
            Ok(())
        };
        let passes = |_, block: usize| vec![&self.passes[block]];
        points.sweep(gpu, &passes, Some(&mut |block, _| read(block.rows() as usize)))?;
        Ok(bids)
    }

    fn work(&self) -> Work {
        self.passes.iter().map(Bound::work).sum()
    }
}

/// How many points each of `counts` clusters has of `n` that are shared equally: the largest ones get those that are left over.
fn targets(counts: &[usize], n: usize) -> Vec<usize> {
    let k = counts.len();
    let mut order: Vec<usize> = (0..k).collect();
    order.sort_by_key(|&cluster| std::cmp::Reverse(counts[cluster]));
    let mut targets = vec![n / k; k];
    order.into_iter().take(n % k).for_each(|cluster| targets[cluster] += 1);
    targets
}

/// Prices of clusters, which last from one iteration to the next.
struct Auction<'a> {
    bidding: Bidding<'a>,
    lloyd: &'a Lloyd<'a>,
    room: Room,
    prices: Vec<f64>,
    rounds: u32,
}

impl Auction<'_> {
    fn prices(&self) -> Vec<f32> {
        self.prices.iter().map(|&price| price as f32).collect()
    }

    /// Labels of equally many points for each cluster, by so many rounds at most.
    fn labels(&mut self, rounds: u32) -> Result<Vec<u32>> {
        let (n, k) = (self.bidding.points.n() as usize, self.prices.len());
        let cheapest = self.prices.iter().copied().fold(f64::INFINITY, f64::min);
        self.prices.iter_mut().for_each(|price| *price -= cheapest);
        let mut round = 0;
        loop {
            self.bidding.gpu.go_on(|| "while clusters were made equal".into())?;
            let bids = self.bidding.bids(&self.prices())?;
            round += 1;
            self.rounds += 1;
            let mut members: Vec<Vec<(f32, u32)>> = vec![Vec::new(); k];
            for (point, (&label, &regret)) in (0..).zip(bids.labels.iter().zip(&bids.regrets)) {
                members[label as usize].push((regret, point));
            }
            let counts: Vec<usize> = members.iter().map(Vec::len).collect();
            let targets = targets(&counts, n);
            let over = |cluster: usize| counts[cluster].saturating_sub(targets[cluster]);
            let unplaced: usize = (0..k).map(over).sum();
            let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            for (cluster, members) in members.iter_mut().enumerate() {
                // Those that lose least by leaving come first.
                match over(cluster) {
                    0 => members.clear(),
                    over => {
                        members.select_nth_unstable_by(over - 1, order);
                        members.truncate(over);
                    }
                }
            }
            if unplaced <= n / PLACED || round == rounds {
                let rooms = (0..k).map(|cluster| targets[cluster].saturating_sub(counts[cluster])).collect();
                let mut leaving: Vec<u64> =
                    members.into_iter().flatten().map(|(_, point)| u64::from(point)).collect();
                leaving.sort_unstable();
                return self.place(bids.labels, leaving, rooms);
            }
            let mean = bids.regrets.iter().map(|&regret| f64::from(regret)).sum::<f64>() / n as f64;
            for (price, members) in self.prices.iter_mut().zip(members) {
                if let Some((regret, _)) = members.last() {
                    *price += f64::from(*regret) + mean / LEAST_RISE;
                }
            }
        }
    }

    /// Gives each of the points that are `leaving` the cheapest cluster that has a room, those that would lose most first.
    fn place(&self, mut labels: Vec<u32>, mut leaving: Vec<u64>, mut rooms: Vec<usize>) -> Result<Vec<u32>> {
        let points = self.bidding.points;
        while !leaving.is_empty() {
            let rows = Rows { of: points.source(), rows: &leaving };
            let own = Points::new(self.bidding.gpu, &rows, None, points.transform(), self.room)?;
            let mut prices = self.prices();
            for (price, _) in prices.iter_mut().zip(&rooms).filter(|(_, rooms)| **rooms == 0) {
                *price = f32::MAX;
            }
            let bids = Bidding::new(&own, self.lloyd)?.bids(&prices)?;
            let mut order: Vec<usize> = (0..leaving.len()).collect();
            order.sort_by(|&a, &b| bids.regrets[b].total_cmp(&bids.regrets[a]).then(a.cmp(&b)));
            let mut left = Vec::new();
            for at in order {
                let cluster = bids.labels[at];
                match &mut rooms[cluster as usize] {
                    0 => left.push(leaving[at]),
                    room => {
                        *room -= 1;
                        labels[leaving[at] as usize] = cluster;
                    }
                }
            }
            left.sort_unstable();
            leaving = left;
        }
        Ok(labels)
    }
}

impl KMeans {
    /// Refuses what clusters of equal size cannot be had with.
    pub(super) fn check_balanced(&self, weighted: bool, adapters: usize) -> Result<()> {
        let what = if !self.balanced {
            return Ok(());
        } else if weighted {
            "weights"
        } else if adapters > 1 {
            "several adapters"
        } else if self.subsample.is_some() {
            "a subsample"
        } else if self.checkpoints.is_some() {
            "checkpoints"
        } else {
            return Ok(());
        };
        Err(Error::Input(format!("{what} cannot be had with balanced clusters: leave one out")))
    }

    /// Iterates until no label changes, the centroids' squared shifts sum to `tol` or less, the inertia falls no more, or so often
    /// as it may. Labels are left that share the points equally, with the means of theirs.
    pub(super) fn run_balanced(
        &self,
        lloyd: &Lloyd<'_>,
        tol: f32,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Outcome, Iteration)> {
        let points = lloyd.labeller.points;
        let n = points.n();
        let bidding = Bidding::new(points, lloyd)?;
        let k = lloyd.labeller.k as usize;
        let room = self.room_beside(points);
        let mut auction = Auction { bidding, lloyd, room, prices: vec![0.0; k], rounds: 0 };
        let mut batch = Batch::new(1);
        let (mut before, mut least, mut history) = (Vec::new(), f64::INFINITY, Vec::new());
        let (mut n_iter, mut converged, mut phase) = (0, false, 0);
        while n_iter < self.max_iter && !converged {
            let from = Instant::now();
            let labels = auction.labels(ROUNDS[phase])?;
            let shift = lloyd.take(&labels)?;
            let inertia = lloyd.inertia()?;
            n_iter += 1;
            batch.took(from.elapsed(), 1);
            let changed = match &before[..] {
                [] => n as usize,
                before => labels.iter().zip(before).filter(|(now, before)| now != before).count(),
            };
            if self.history {
                history.push(inertia);
            }
            let fell = inertia < least;
            progress(Progress::Iterating {
                n_iter,
                changed: u32::try_from(changed).unwrap_or(u32::MAX),
                shift,
                inertia: Some(inertia),
                running: 1,
            });
            let ends = changed == 0 || shift <= tol || !fell;
            if fell {
                (least, before) = (inertia, labels);
            } else {
                lloyd.take(&before)?;
            }
            if ends {
                phase += 1;
                converged = phase == ROUNDS.len();
            }
        }
        let Work { bytes, ops } = auction.bidding.work();
        let each = |amount: u64| amount * u64::from(auction.rounds) / u64::from(n_iter.max(1));
        let work = Work { bytes: each(bytes), ops: each(ops) };
        let iteration = Iteration::new(&points.layout().fill(&bid::SPEC), work);
        Ok((Outcome { n_iter, converged, iteration: batch.each(), history }, iteration))
    }
}

#[cfg(test)]
mod tests {
    use super::targets;

    #[test]
    fn targets_share_all_points() {
        assert_eq!(targets(&[3, 3, 3], 9), [3, 3, 3]);
        assert_eq!(targets(&[1, 7, 2], 10), [3, 4, 3]);
        assert_eq!(targets(&[0, 5, 5, 1], 11), [2, 3, 3, 3]);
    }
}
