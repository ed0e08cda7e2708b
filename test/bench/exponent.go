package main

import "math"

// exponent is the k of y = c·x^k that comes nearest to the points: the slope of the line of least squares through their logarithms. Points
// that have none are left out; it is 0 where fewer than two sizes are left.
func exponent(sizes []int, values []float64) float64 {
	var n, sumX, sumY, sumXX, sumXY float64
	for i, size := range sizes {
		if size <= 0 || values[i] <= 0 {
			continue
		}
		x, y := math.Log(float64(size)), math.Log(values[i])
		n, sumX, sumY, sumXX, sumXY = n+1, sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	spread := n*sumXX - sumX*sumX
	if spread <= 0 {
		return 0
	}
	return (n*sumXY - sumX*sumY) / spread
}
