#!/bin/sh
# Fits a polynomial to cars.txt by gradient descent with momentum.
# Usage: train.sh RATE MOMENTUM DEGREE RIDGE EPOCHS
exec awk -v rate="$1" -v momentum="$2" -v degree="$3" -v ridge="$4" -v epochs="$5" '
/^#/ { next }
{
  n++
  x[n] = ($1 - 15) / 10; y[n] = $2
}
function predicted(i,    j, sum) {
  sum = 0
  for (j = degree; j >= 0; j--) sum = sum * x[i] + w[j]
  return sum
}
END {
  for (epoch = 1; epoch <= epochs; epoch++) {
    for (j = 0; j <= degree; j++) slope[j] = ridge * w[j]
    for (i = 1; i <= n; i++) if (i % 3) {            # two thirds to fit on
      error = predicted(i) - y[i]
      power = 1
      for (j = 0; j <= degree; j++) { slope[j] += error * power / n; power *= x[i] }
    }
    for (j = 0; j <= degree; j++) {
      pace[j] = momentum * pace[j] - rate * slope[j]
      w[j] += pace[j]
    }
    squares = held = 0
    for (i = 3; i <= n; i += 3) { squares += (predicted(i) - y[i]) ^ 2; held++ }
    if (epoch % 10 == 0) {                           # a step of ten epochs
      printf "tunectl:report step=%d val_rmse=%.6g\n", epoch / 10, sqrt(squares / held)
      fflush()                                       # or it would be heard at the end only
    }
  }
  printf "distance = "
  for (j = 0; j <= degree; j++) printf "%s%.4g z^%d", j ? " + " : "", w[j], j
  printf ", z = (speed - 15) / 10\nval_rmse = %.6g\n", sqrt(squares / held)
}' cars.txt
