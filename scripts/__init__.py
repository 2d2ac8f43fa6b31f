"""Development and start-up programs; `scripts.serve` is what serve.sh runs."""
