//! The pool and the stripes that it hands out, as a program of their own for ThreadSanitizer: `tests/tsan/run.sh`.

#![allow(dead_code)]

#[path = "../../src/backend/cpu/pool.rs"]
mod pool;
#[path = "../../src/backend/cpu/tile.rs"]
mod tile;

use pool::Pool;
use tile::{Cut, Striped};

const N_ROWS: usize = 7;
const N_COLS: usize = 50;

/// Many jobs on a few threads, each of which writes its own stripes of a matrix; what they wrote is read by the caller.
fn main() {
    for n_threads in [2, 3, 8] {
        let mut pool = Pool::new(n_threads);
        for job in 0..3000 {
            let mut matrix = vec![0.0; N_ROWS * N_COLS];
            let cut = if job % 2 == 0 { Cut::Cols(1 + job % 13) } else { Cut::Rows(1 + job % 3) };
            let cols = job % 5..N_COLS - job % 7;
            let striped = Striped::columns(&mut matrix, N_COLS, cols.clone(), cut);
            pool.stripes([striped], |[mut stripe], _, _| {
                for row in 0..stripe.n_rows() {
                    stripe.row_mut(row).iter_mut().for_each(|v| *v += 1.0);
                }
            });
            for (i, &v) in matrix.iter().enumerate() {
                assert_eq!(v, f32::from(u8::from(cols.contains(&(i % N_COLS)))), "job {job}, element {i}");
            }
        }
    }
}
