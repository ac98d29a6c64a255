#!/bin/sh
# Renders manifests.yaml from the chart's defaults, for those who do not use Helm. A test keeps it in step. Arguments go to helm.
set -eu
cd "$(dirname "$0")"
"${HELM:-helm}" template ringmain chart --namespace ringmain --kube-version 1.33.0 "$@"
