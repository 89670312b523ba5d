"""The parts of the FetusMapV2 module: parameters, estimate, results table, views, requirements."""
