//! A whole fit on the host: what every device has to come to, to the bit. Labels are compared as exact numbers, sums are integers, and
//! f32 is rounded as kernels say that they round it (`oracle`: assign, exact, strict, plus_plus).

use std::collections::HashSet;

use super::centroid::Scales;
use super::drawing::draw;
use super::frame::Transform;
use super::metric::{Empty, Metric};
use super::options::{Init, KMeans, Prepared};
use super::parallel::{OVERSAMPLING, ROUNDS};
use super::seed::{one_of, trials};
use super::statistics::Statistics;
use super::weights::Weights;
use crate::io::npy::Matrix;
use crate::oracle::exact::{Number, Sum};
use crate::oracle::plus_plus::{self, Start};
use crate::oracle::{assign, strict};
use crate::random::Random;
use crate::{Error, Result};

/// Invocations of `centroid_mean`, and of `lloyd`.
const MEAN_LANES: usize = 64;
const LLOYD_LANES: usize = 256;

/// Of a fit, what its data, options and seed decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Defined {
    /// `[n]`
    pub labels: Vec<i32>,
    /// `[k, d]`
    pub cluster_centers: Matrix,
    /// As in [`Fitted`](super::Fitted).
    pub inertia: f64,
    /// Iterations of the best start.
    pub n_iter: u32,
}

/// The points of a fit as they go to a device.
struct Points<'a> {
    /// `[n, width]`, transformed and padded to whole vec4s.
    values: Vec<f32>,
    width: usize,
    weights: Option<&'a [f32]>,
    metric: Metric,
}

/// The fit to `data` by the definition; with [`Empty::Farthest`] and no start that divides the points.
///
/// # Errors
/// Those of [`KMeans::fit_weighted`]; [`Error::Unsupported`] for other settings.
pub fn fit(kmeans: &KMeans, data: &Matrix, weights: Option<&[f32]>) -> Result<Defined> {
    if kmeans.balanced
        || kmeans.empty != Empty::Farthest
        || matches!(kmeans.init, Init::Bisecting | Init::TwoLevel)
    {
        return Err(Error::Unsupported(format!("{:?}, init {}", kmeans.empty, kmeans.init.name())));
    }
    let (n, d) = (data.rows, data.cols);
    let statistics = kmeans.statistics(data, "X")?;
    kmeans.check(n, d)?;
    let weighing = Weights::new(weights, n, kmeans.k)?;
    let prepared = kmeans.prepared(&statistics, n as u64, kmeans.statistics_of_given()?.as_ref())?;
    let scales = prepared.scales(&weighing);
    let Prepared { factor, transform, statistics: of_scaled } = prepared;
    let settings = kmeans.scaled(factor);
    let scaled = data.scaled(factor);
    let points = Points::new(&scaled, &transform, weighing.values(), kmeans.metric);
    let tol = (kmeans.tol * of_scaled.variance) as f32;
    let mut random = Random::new(kmeans.seed);
    let mut best: Option<(f64, u32, Vec<f32>)> = None;
    for _ in 0..kmeans.starts() {
        let frozen = settings.frozen_rows(&transform)?;
        let mut centroids = frozen.clone();
        if frozen.len() < kmeans.k * points.width {
            centroids.extend(settings.first_by_definition(&points, &frozen, &transform, &mut random)?);
        }
        let ends = (kmeans.max_iter, tol);
        let n_iter = points.iterate(&mut centroids, frozen.len() / points.width, scales, ends);
        let (_, inertia) = points.labelled(&centroids);
        if best.as_ref().is_none_or(|(least, ..)| inertia < *least) {
            best = Some((inertia, n_iter, centroids));
        }
    }
    let (mut inertia, n_iter, centroids) =
        best.ok_or_else(|| Error::Input("n_init=0 should be >= 1".into()))?;
    inertia /= KMeans::measure(factor);
    let rows: Vec<f32> = centroids.chunks(points.width).flat_map(|row| &row[..d]).copied().collect();
    let there = Matrix { rows: kmeans.k, cols: d, values: transform.undone(&rows, d) };
    let mut cluster_centers = there.scaled(1.0 / factor);
    if let (Some(frozen), Transform::Centred(_) | Transform::Plain) = (&kmeans.frozen, &transform) {
        cluster_centers.values[..frozen.values.len()].copy_from_slice(&frozen.values);
    }
    let (mut labels, _) = points.labelled(&centroids);
    if !transform.keeps(&rows, &cluster_centers.scaled(factor)) {
        let given = Statistics::of(&cluster_centers, "centroids")?;
        let Prepared { factor, transform, .. } = kmeans.prepared(&statistics, n as u64, Some(&given))?;
        let scaled = data.scaled(factor);
        let points = Points::new(&scaled, &transform, weighing.values(), kmeans.metric);
        let first = kmeans.given(&cluster_centers.scaled(factor), &transform, "centroids")?;
        (labels, inertia) = points.labelled(&first);
        inertia /= KMeans::measure(factor);
    }
    let labels = labels.into_iter().map(|label| label as i32).collect();
    Ok(Defined { labels, cluster_centers, inertia: inertia * weighing.unit, n_iter })
}

impl KMeans {
    fn first_by_definition(
        &self,
        points: &Points<'_>,
        frozen: &[f32],
        transform: &Transform,
        random: &mut Random,
    ) -> Result<Vec<f32>> {
        let k = self.others();
        let chosen = match &self.init {
            Init::Centroids(given) => return self.given(given, transform, "init"),
            Init::Random => draw(points.n(), k, points.weights, random),
            Init::Parallel => points.parallel(frozen, k, random),
            _ => {
                let beside = (!frozen.is_empty()).then(|| points.squares_to(frozen));
                points.plus_plus(beside.as_deref(), k, random)
            }
        };
        Ok(chosen.into_iter().flat_map(|row| points.row(row as usize)).copied().collect())
    }
}

impl<'a> Points<'a> {
    fn new(data: &Matrix, transform: &Transform, weights: Option<&'a [f32]>, metric: Metric) -> Self {
        let width = data.cols.next_multiple_of(4);
        Self { values: transform.apply(&data.values, data.cols), width, weights, metric }
    }

    /// Some of the points, by other weights.
    fn of_rows<'b>(&self, rows: &[u64], weights: Option<&'b [f32]>) -> Points<'b> {
        let values = rows.iter().flat_map(|&row| self.row(row as usize)).copied().collect();
        Points { values, width: self.width, weights, metric: self.metric }
    }

    fn n(&self) -> usize {
        self.values.len() / self.width
    }

    fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..][..self.width]
    }

    fn weight(&self, at: usize) -> f32 {
        self.weights.map_or(1.0, |weights| weights[at])
    }

    fn nearest(&self, centroids: &[f32], metric: Metric) -> Vec<u32> {
        assign::nearest(&self.values, centroids, self.width, metric == Metric::Dot)
    }

    /// How far each point is from the centroid of its label.
    fn distances<'b>(
        &'b self,
        labels: &'b [u32],
        centroids: &'b [f32],
        metric: Metric,
    ) -> impl Iterator<Item = f32> + 'b {
        self.values.chunks(self.width).zip(labels).map(move |(x, &label)| {
            let centroid = &centroids[label as usize * self.width..][..self.width];
            match metric {
                Metric::Euclidean => strict::square(x, centroid),
                Metric::Cosine => strict::square(x, centroid) * 0.5,
                Metric::Dot => -strict::dot(x, centroid),
            }
        })
    }

    /// Labels by these centroids, and the inertia.
    fn labelled(&self, centroids: &[f32]) -> (Vec<u32>, f64) {
        let labels = self.nearest(centroids, self.metric);
        let weighed = self
            .distances(&labels, centroids, self.metric)
            .enumerate()
            .map(|(at, distance)| f64::from(distance) * f64::from(self.weight(at)));
        let inertia = weighed.fold(0.0, |sum, weighed| sum + weighed);
        (labels, inertia)
    }

    /// Squared distances to the nearest of these centroids.
    fn squares_to(&self, centroids: &[f32]) -> Vec<f32> {
        let labels = self.nearest(centroids, Metric::Euclidean);
        self.distances(&labels, centroids, Metric::Euclidean).collect()
    }

    /// Lloyd's loop; how many iterations it takes to an end by `tol`, or to the most.
    fn iterate(
        &self,
        centroids: &mut Vec<f32>,
        frozen: usize,
        scales: Scales,
        (max_iter, tol): (u32, f32),
    ) -> u32 {
        let mut before: Vec<u32> = Vec::new();
        for n_iter in 1..=max_iter {
            let labels = self.nearest(centroids, self.metric);
            let mut sums = Sums::new(centroids.len() / self.width, self.width, scales);
            for (at, &label) in labels.iter().enumerate() {
                sums.add(label, self.row(at), self.weight(at), false);
            }
            let empty: Vec<u32> = (frozen..sums.counts.len())
                .filter(|&c| sums.mass(c).float() == 0.0)
                .map(|c| c as u32)
                .collect();
            for (point, cluster) in self.farthest(&labels, centroids, empty.len()).into_iter().zip(empty) {
                sums.add(labels[point], self.row(point), self.weight(point), true);
                sums.add(cluster, self.row(point), self.weight(point), false);
            }
            let next = sums.means(centroids, frozen, self.metric == Metric::Cosine);
            let rows = next.chunks(self.width).zip(centroids.chunks(self.width));
            let shifts: Vec<f32> = rows
                .map(|(next, old)| {
                    let way: Vec<f32> = next.iter().zip(old).map(|(next, old)| next - old).collect();
                    strict::norm(&way, MEAN_LANES)
                })
                .collect();
            *centroids = next;
            if labels == before || strict::strided(&shifts, LLOYD_LANES) <= tol {
                return n_iter;
            }
            before = labels;
        }
        max_iter
    }

    /// So many points farthest from their centroids, the highest index first among equals; none if none lies off its own.
    fn farthest(&self, labels: &[u32], centroids: &[f32], count: usize) -> Vec<usize> {
        if count == 0 {
            return Vec::new();
        }
        let far: Vec<f32> = self.distances(labels, centroids, self.metric).collect();
        let mut order: Vec<usize> = (0..far.len()).collect();
        order.sort_by(|&a, &b| far[b].total_cmp(&far[a]).then(b.cmp(&a)));
        order.truncate(count);
        let off = self.metric == Metric::Dot || order.first().is_some_and(|&at| far[at] > 0.0);
        if off { order } else { Vec::new() }
    }

    /// The points that greedy k-means++ chooses, `beside` squared distances to other centroids.
    fn plus_plus(&self, beside: Option<&[f32]>, k: usize, random: &mut Random) -> Vec<u64> {
        let n = self.n();
        let part = 1.0 / (n as u64).next_power_of_two() as f32;
        let parts: Vec<f32> = (0..n).map(|at| self.weight(at) * part).collect();
        let first = |weights: Option<&[f32]>, random: &mut Random| one_of(n as u64, weights, random) as u32;
        let trials = trials(k as u64) as usize;
        let weighed: Vec<f32>;
        let drawn: Vec<u32>;
        let start = match beside {
            None => Start::Point(first(self.weights, random)),
            Some(distances) => {
                let products = distances.iter().zip(&parts).map(|(x, weight)| x * weight);
                weighed = products.map(plus_plus::counted).collect();
                let likely = weighed.iter().any(|&weighed| weighed > 0.0).then_some(&weighed[..]);
                drawn = (0..trials).map(|_| first(likely, random)).collect();
                Start::Beside(&weighed, &drawn)
            }
        };
        let seed = random.word();
        let chosen = plus_plus::choose(&self.values, self.width, &parts, (k, trials), seed, start);
        chosen.into_iter().map(u64::from).collect()
    }

    /// The points that k-means|| chooses.
    fn parallel(&self, frozen: &[f32], k: usize, random: &mut Random) -> Vec<u64> {
        let n = self.n();
        let beside = (!frozen.is_empty()).then(|| self.squares_to(frozen));
        let mut squares = beside.clone().unwrap_or_else(|| vec![f32::INFINITY; n]);
        let mut owners: Vec<Option<usize>> = vec![None; n];
        let mut candidates: Vec<u64> = Vec::new();
        for round in 0..=ROUNDS {
            let known = candidates.len();
            if round > 0 {
                let potential = |at: usize| f64::from(squares[at]) * f64::from(self.weight(at));
                let sum: f64 = (0..n).map(potential).sum();
                let mut drawn = |at: &usize| random.unit() * sum < OVERSAMPLING * k as f64 * potential(*at);
                candidates.extend((0..n).filter(|at| drawn(at)).map(|at| at as u64));
            } else if beside.is_none() {
                candidates.push(one_of(n as u64, self.weights, random));
            }
            if candidates.len() > known {
                let new = self.of_rows(&candidates[known..], None).values;
                let labels = self.nearest(&new, Metric::Euclidean);
                for (at, square) in self.distances(&labels, &new, Metric::Euclidean).enumerate() {
                    if square < squares[at] {
                        (squares[at], owners[at]) = (square, Some(known + labels[at] as usize));
                    }
                }
            }
        }
        let mut owned = vec![0.0f64; candidates.len()];
        for (at, owner) in owners.iter().enumerate() {
            if let Some(owner) = owner {
                owned[*owner] += f64::from(self.weight(at));
            }
        }
        let (mut chosen, weights): (Vec<u64>, Vec<f32>) =
            candidates.iter().zip(owned).filter(|(_, w)| *w > 0.0).map(|(&c, w)| (c, w as f32)).unzip();
        if chosen.len() <= k {
            let taken: HashSet<u64> = chosen.iter().copied().collect();
            let others = draw(n, k, self.weights, random).into_iter().filter(|at| !taken.contains(at));
            chosen.extend(others.take(k - taken.len()));
            return chosen;
        }
        let beside: Option<Vec<f32>> =
            beside.map(|beside| chosen.iter().map(|&row| beside[row as usize]).collect());
        let among = self.of_rows(&chosen, Some(&weights));
        among.plus_plus(beside.as_deref(), k, random).into_iter().map(|at| chosen[at as usize]).collect()
    }
}

/// The sums of the points of each cluster.
struct Sums {
    /// `[k, width]`
    values: Vec<Sum>,
    /// `[k]` of their weights, if they have any.
    weights: Option<Vec<Sum>>,
    /// `[k]`
    counts: Vec<i128>,
    width: usize,
}

impl Sums {
    fn new(k: usize, width: usize, scales: Scales) -> Self {
        let sum = |scale: f32| Sum::new(scales.levels(), scale.log2() as i32);
        Self {
            values: vec![sum(scales.points); k * width],
            weights: scales.weights.map(|scale| vec![sum(scale); k]),
            counts: vec![0; k],
            width,
        }
    }

    /// Adds a point, or takes it away.
    fn add(&mut self, cluster: u32, row: &[f32], weight: f32, takes: bool) {
        let cluster = cluster as usize;
        self.counts[cluster] += if takes { -1 } else { 1 };
        for (sum, &x) in self.values[cluster * self.width..].iter_mut().zip(row) {
            sum.add(if self.weights.is_some() { weight * x } else { x }, takes);
        }
        if let Some(weights) = &mut self.weights {
            weights[cluster].add(weight, takes);
        }
    }

    fn mass(&self, cluster: usize) -> Number {
        match &self.weights {
            Some(weights) => weights[cluster].number(),
            None => Number::new(self.counts[cluster], 0),
        }
    }

    /// The means, or the `old` centroids where they stay.
    fn means(&self, old: &[f32], frozen: usize, spherical: bool) -> Vec<f32> {
        let mut next = old.to_vec();
        for (cluster, row) in next.chunks_mut(self.width).enumerate().skip(frozen) {
            let mass = self.mass(cluster);
            if mass.is_positive() {
                let sums = &self.values[cluster * self.width..][..self.width];
                row.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = sum.number().over(mass));
            }
            let square = strict::norm(row, MEAN_LANES);
            if spherical && square > 0.0 {
                let factor = 1.0 / square.sqrt();
                row.iter_mut().for_each(|mean| *mean *= factor);
            }
        }
        next
    }
}
