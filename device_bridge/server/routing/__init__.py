"""Tool calls: which device they go to, how they wait, how they end, and what is remembered of them."""
