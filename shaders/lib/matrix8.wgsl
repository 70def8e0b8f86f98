//! Cooperative matrices of 8 x 8: f16 operands, f32 sums.
//! Needs: subgroups of 1 or more
//! Needs: cooperative matrices of 8x8
enable wgpu_cooperative_matrix;

alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;

const SIDE: u32 = 8u;
