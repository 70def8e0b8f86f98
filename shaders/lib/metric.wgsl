// What "near" means (src/kmeans/metric.rs: Metric).
const EUCLIDEAN: u32 = 0u;
const COSINE: u32 = 1u;
const DOT: u32 = 2u;
