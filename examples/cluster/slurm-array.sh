#!/bin/bash
# A batch as an array of Slurm jobs; each part has a journal of its own, and may be started again.
#   VOLUMES=/data/volumes RESULTS=/data/results sbatch --array=1-16 examples/cluster/slurm-array.sh
# Then, once:  fetusmap batch /data/volumes --output /data/results    (what is left, and one table over all)
#SBATCH --job-name=fetusmap
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=12:00:00
set -euo pipefail
: "${VOLUMES:?name the folder of volumes}" "${RESULTS:?name the folder for the results}"
first=${SLURM_ARRAY_TASK_MIN:-1}
exec fetusmap batch "$VOLUMES" --output "$RESULTS" \
  --shard "$((SLURM_ARRAY_TASK_ID - first + 1))/$SLURM_ARRAY_TASK_COUNT" "$@"
