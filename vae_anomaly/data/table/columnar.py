"""Tables as columns of Arrow; see `data.columnar.Columnar`, which this module fulfils."""

from __future__ import annotations

from vae_anomaly.data.table.batch import open_batch
from vae_anomaly.data.table.partitions import kept_names as kept
from vae_anomaly.data.table.partitions import partitions_of as partitions
from vae_anomaly.data.table.partitions import read_partition as read

__all__ = ["kept", "open_batch", "partitions", "read"]
