//! temp
use lowbit::kmeans::*; use lowbit::io::npy::*;
fn main() {
  let g = lowbit::gpu::Context::open(&lowbit::gpu::Options{profile: std::env::var("PROF").is_ok(), ..Default::default()}).unwrap();
  let a: Vec<String> = std::env::args().collect();
  if a[1]=="real" {
  let p = read_matrix(std::path::Path::new("../shared/data/kmeans/points.npy")).unwrap();
  let i = read_matrix(std::path::Path::new("../shared/data/kmeans/init.npy")).unwrap();
  let l = read_labels(std::path::Path::new("../shared/data/kmeans/labels.npy")).unwrap();
  let f = KMeans::new(64).init(Init::Centroids(i)).max_iter(25).tol(0.0).fit(&g,&p,|p| println!("{p:?}")).unwrap();
  let diff = f.labels.iter().zip(&l).filter(|(a,b)|a!=b).count();
  println!("{} {} {} ms/iter {} total {} diff {diff}", f.n_iter, f.inertia, f.inertia/2856.545283050454-1.0, f.ms_per_iteration, f.seconds);
  } else {
   let n=65536; let d=64; let x=Matrix{rows:n,cols:d,values:lowbit::random::Random::new(1).floats(n*d)};
   let f = KMeans::new(256).init(Init::Random).max_iter(6).tol(0.0).fit(&g,&x,|_|()).unwrap();
   println!("{} ms/iter {} total {}", f.n_iter, f.ms_per_iteration, f.seconds);
   let mut m = std::collections::BTreeMap::<String,(f64,u64,u64,u32)>::new();
   for p in g.take_passes() { let e=m.entry(p.label).or_default(); e.0+=p.duration_us; e.1+=p.work.bytes; e.2+=p.work.ops; e.3+=1; }
   for (k,v) in m { println!("{k:32} {:5} {:10.1} us each  {:.1} GB/s {:.1} GFLOP/s", v.3, v.0/v.3 as f64, v.1 as f64/v.0/1e3, v.2 as f64/v.0/1e3); }
  }
}
