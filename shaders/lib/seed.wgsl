// Where k-means++ stands; src/kmeans/seed.rs mirrors it.
struct Pick {
    step: u32,      // seeds chosen so far
    best: u32,      // the trial that won the last step
}
