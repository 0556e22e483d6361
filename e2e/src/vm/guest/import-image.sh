#!/bin/busybox sh
# Imports the image archive on its standard input and answers with "imported" or what went wrong. Serves one connection of the
# host, which is the only one that reaches this machine's network.
archive=/var/tmp/import.$$
mkdir -p /var/tmp
cat > "$archive"
if answer=$(/usr/bin/ctr -n k8s.io image import "$archive" 2>&1); then
  echo imported
else
  echo "$answer"
fi
rm -f "$archive"
