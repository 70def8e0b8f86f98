//! Exact k-means on the GPU: FlashAssign and the sort-inverse update (Flash-KMeans, 2025), with scikit-learn's semantics.
//!
//! The points lie on the device as rows of vec4s, less their mean: distances between far-away points would otherwise
//! lose the digits that tell them apart. Sums are exact, so that a result depends neither on how the points are cut into
//! chunks nor on how many of them fit the device.
//!
//! Embeddings by their direction, and an inverted file (IVF) of them: a search looks into the lists of the centroids
//! that are nearest to the query, here 3 of 16.
//!
//! ```
//! use lowbit::gpu::{Context, Options};
//! use lowbit::io::npy::{Matrix, read_matrix};
//! use lowbit::kmeans::{KMeans, Metric};
//!
//! fn main() -> lowbit::Result<()> {
//!     let gpu = Context::open(&Options::default())?;
//!     let points = read_matrix("assets/kmeans/points.npy".as_ref())?;
//!     let coarse = KMeans::new(16).metric(Metric::Cosine).n_init(2);
//!     let fitted = coarse.fit(&gpu, &points, |_| ())?;
//!     let mut lists = vec![Vec::new(); fitted.k];
//!     for (point, &label) in fitted.labels.iter().enumerate() {
//!         lists[label as usize].push(point);
//!     }
//!
//!     let query = Matrix { rows: 1, cols: points.cols, values: points.values[..points.cols].to_vec() };
//!     let distances = coarse.transform(&gpu, &query, &fitted.cluster_centers)?;
//!     let mut nearest: Vec<usize> = (0..fitted.k).collect();
//!     nearest.sort_by(|&a, &b| distances.values[a].total_cmp(&distances.values[b]));
//!     let candidates: Vec<usize> = nearest[..3].iter().flat_map(|&list| lists[list].clone()).collect();
//!     assert!(candidates.contains(&0) && candidates.len() < points.rows);
//!     Ok(())
//! }
//! ```

pub(crate) mod adapters;
pub(crate) mod assign;
pub(crate) mod assignment;
mod balance;
pub(crate) mod batch;
pub(crate) mod bid;
pub(crate) mod centroid;
pub(crate) mod checkpoint;
mod choose;
pub(crate) mod control;
pub(crate) mod definition;
pub(crate) mod distance;
mod divide;
mod drawing;
mod drawn;
mod elbow;
pub(crate) mod element;
mod first;
mod fit;
mod fitted;
pub(crate) mod frame;
mod group;
pub(crate) mod iterate;
mod keeper;
pub(crate) mod labeller;
mod learnt;
pub(crate) mod lloyd;
mod metric;
pub(crate) mod mini_batch;
mod options;
#[cfg(feature = "cli")]
pub(crate) mod palette;
mod parallel;
pub(crate) mod points;
mod predict;
pub(crate) mod product;
mod progress;
pub(crate) mod radix_sort;
mod relocate;
pub(crate) mod rerank;
mod sample;
pub(crate) mod seed;
mod silhouette;
mod source;
pub(crate) mod statistics;
pub(crate) mod transform;
mod views;
pub(crate) mod weights;

pub use batch::{FittedBatch, PredictedBatch};
pub use choose::{Candidate, Choice, Choosing};
pub use fitted::{Fitted, Iteration};
pub use keeper::Checkpoints;
pub use labeller::Reranked;
pub use metric::{Empty, Metric};
pub use mini_batch::MiniBatchKMeans;
pub use options::{Init, KMeans};
pub use predict::Predicted;
pub use product::{Codebooks, ProductQuantizer, Quantized};
pub use progress::Progress;
pub use source::Source;
pub use views::{Columns, Rows};
