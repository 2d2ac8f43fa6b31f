"""TorchServe as the gateway sees it: the only files that know its paths, statuses and error words."""
