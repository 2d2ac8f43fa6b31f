"""One decoding loop for every runtime: plan, logit rules, greedy and beam search."""
