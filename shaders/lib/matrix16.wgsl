//! Cooperative matrices of 16 x 16: f16 operands, f32 sums.
//! Needs: subgroups of 1 or more
//! Needs: cooperative matrices of 16x16
enable wgpu_cooperative_matrix;

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

const SIDE: u32 = 16u;
