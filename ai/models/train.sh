#!/bin/sh
# Trains the model that comes with the program, with the files of the folder that is given:
#   ai/models/train.sh ETH_PHISH_FOLDER
set -eu
folder=$1
out=$(dirname "$0")/default.safetensors
cargo run --release -- ai train \
    --input "$folder/train.csv.gz" --valid "$folder/valid.csv.gz" --since 1496275200 --reports-after 14 \
    --name "phishing on Ethereum" \
    --source "Ethereum transfers between accounts, 2017-06 to 2018-04, made from TSGN (arXiv 2208.12938, GalateaWang/TSGN-master) with phishing tags of Etherscan and XBlock and those of BERT4ETH (git-disl/BERT4ETH): public facts of the chain" \
    --licence "MIT OR Apache-2.0 for the numbers; neither source of the rows names a licence" \
    --notes "Tells payments to and from phishing accounts. Sampled around labelled accounts, so fraud is far more frequent in the rows than on a chain: choose thresholds by your own transfers. Unlabelled accounts are taken for good. Knows nothing of cards." \
    --output "$out"
