module ringmain/bench/gopixel

go 1.19
