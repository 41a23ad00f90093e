// For kernels of ours that are worth wide vectors.
#pragma once

// Before a function: compiled for several vector widths, of which the program picks one at
// start-up. Loops over elements give the same bits in all of them, since products and sums are not
// contracted into one operation (avx512f has such ones); a loop that sums into one number is not
// vectorised.
#define WR_VECTORISED \
  __attribute__((optimize("O3", "fp-contract=off"), target_clones("avx512f", "avx2", "default")))
