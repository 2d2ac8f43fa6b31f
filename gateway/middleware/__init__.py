"""What every request passes on its way in and out; `stack` has the order."""
