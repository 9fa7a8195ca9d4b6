// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {ISettings} from "../src/interfaces/ISettings.sol";
import {CouncilHandler} from "./CouncilHandler.sol";
import {Handler} from "./Handler.sol";
import {UnitsHandler} from "./UnitsHandler.sol";

/// What must hold after any history of what the handler does.
contract Books is Handler {
    function setUp() public override {
        super.setUp();
        people = [provider, developer, affiliate, _actor("wallet"), _actor("subsidiary"), _actor("customer")];
        for (uint256 i = 3; i < people.length; ++i) {
            admit(people[i], i == 5 ? START + 40 days : UNTIL); // one of them lapses on the way
        }
        _listSettings();
        registerAsset(40 * GPU, 0, 1, 30 * GPU, 60 days, true);
        registerAsset(40 * GPU, 1, 0, 30 * GPU, 2 days, false);
        openTranche(0, 0, 0);
        openTranche(0, 0, 5);
    }

    function checkUnits() external view {
        uint256[2] memory totals;
        uint256[2] memory counted;
        uint256[] memory nodes = new uint256[](2 * people.length);
        for (uint256 i; i < assets.length; ++i) {
            ILedger.Asset memory asset = ledger.assetOf(assets[i]);
            uint256 c = asset.classId == GPUS ? 0 : 1;
            uint256 sum = ledger.commonsOf(assets[i]);
            if (!asset.retired) (totals[c], counted[c]) = (totals[c] + asset.units, counted[c] + sum);
            for (uint256 j; j < people.length; ++j) {
                uint256 units = ledger.balanceOf(people[j], assets[i]);
                sum += units;
                if (asset.retired && ledger.isSynced(assets[i], people[j])) continue;
                if (asset.retired) totals[c] += units; // still among what its group holds
                counted[c] += units;
                address[] memory path = members.pathOf(people[j]);
                for (uint256 k; k < path.length; ++k) {
                    nodes[2 * _indexOf(path[k]) + c] += units;
                }
            }
            assertEq(sum, asset.units, "balances and the commons are the asset's units");
            assertEq(sum, ledger.totalSupply(assets[i]));
        }
        for (uint256 i; i < nodes.length; ++i) {
            assertEq(ledger.heldBy(_class(i), people[i / 2]), nodes[i], "a node's total is its own and the controlled");
        }
        for (uint256 c; c < 2; ++c) {
            assertEq(counted[c], totals[c], "groups, commons and not yet synced are the total");
            assertEq(ledger.classOf(_class(c)).total, _liveUnits(c), "the total is of what is not retired");
        }
    }

    function checkCredits() external view {
        uint32 first = access.currentWindow();
        for (uint256 c; c < 2; ++c) {
            for (uint32 window = first; window <= first + HORIZON; ++window) {
                uint256[] memory acquired = new uint256[](people.length);
                uint256[] memory redeemed = new uint256[](people.length);
                _sumWindow(_class(c), window, acquired, redeemed);
                for (uint256 j; j < people.length; ++j) {
                    assertEq(access.acquiredBy(_class(c), window, people[j]), acquired[j], "held and redeemed");
                    assertEq(access.redeemedBy(_class(c), window, people[j]), redeemed[j], "redeemed is the leases");
                }
            }
        }
    }

    function checkCapacity() external view {
        for (uint256 i; i < ids.length; ++i) {
            (, uint32 window) = _of(ids[i]);
            if (window < access.currentWindow()) continue; // may be refunded, and burned with that
            uint256 sum;
            for (uint256 k; k < ids.length; ++k) {
                if (ids[k] >> 32 == ids[i] >> 32) sum += _outstanding(ids[k]) + _leased(ids[k]);
            }
            assertEq(access.issued(ids[i] >> 64, window), sum, "issued is held and redeemed, over all tranches");
            uint256 units = ledger.assetOf(ids[i] >> 64).units;
            assertLe(sum, units * WINDOW / 1e6, "oversold");
        }
    }

    /// The escrow is what is refundable, not settled yet, or not claimed yet: to the smallest unit.
    function checkMoney() external view {
        uint256 due;
        uint256 unsettled;
        for (uint256 i; i < leases.length; ++i) {
            IAccess.Lease memory l = access.leaseOf(leases[i]);
            assertEq(l.gpuMs, meter.settledMs(leases[i]));
            assertLe(l.gpuMs, signedMs[leases[i]], "settled more than was signed for");
            uint256 paid = uint256(l.price) * l.gpuMs / 1000;
            due += paid;
            if (!l.refunded) unsettled += uint256(l.price) * l.amount - paid;
        }
        for (uint256 i; i < ids.length; ++i) {
            (, uint128 price) = access.priceOf(ids[i]);
            unsettled += price * _outstanding(ids[i]);
        }
        (uint256 accrued, uint256 claimed) = ledger.revenueTotals();
        assertEq(accrued, due, "what accrued is what was signed for");
        assertEq(coin.balanceOf(address(access)), unsettled + accrued - claimed, "the escrow");
    }

    /// All revenue is somebody's, but for what waits to be divided: less than one smallest unit for each who has a part.
    function checkRevenue() external view {
        (uint256 accrued, uint256 sum) = ledger.revenueTotals();
        for (uint256 i; i < assets.length; ++i) {
            sum += ledger.revenueOf(assets[i], address(ledger));
            for (uint256 j; j < people.length; ++j) {
                sum += ledger.revenueOf(assets[i], people[j]);
            }
        }
        for (uint256 j; j < people.length; ++j) {
            sum += ledger.commonsRevenueOf(people[j]);
        }
        assertLe(sum, accrued, "more than accrued");
        assertLe(accrued, sum + (assets.length + 1) * (people.length + 2), "lost on the way");
    }

    /// Every one of them is what the council has decided, and never beyond what is written in README.md.
    function checkSettings() external view {
        for (uint256 i; i < places.length; ++i) {
            (Place memory p, Course memory c) = (places[i], courses[i]);
            ISettings.Setting memory s = ISettings(p.target).settingOf(p.name, p.subject);
            assertEq(s.value, c.value, "only the timelock changes a setting");
            assertEq(s.pending, c.pending);
            assertEq(s.pendingAt, c.pendingAt);
            assertEq(s.nextChangeAt, c.nextChangeAt);
            assertEq(s.abdicated, c.abdicated);
            (uint256 min, uint256 max) = _bounds(p.name);
            assertTrue(s.value >= min && s.value <= max, "out of bounds");
        }
    }

    /// What was proposed last: a vote for each group that was heard, and no more than there were groups.
    function checkVotes() external view {
        if (motion.groups == 0) return;
        (uint256 against, uint256 inFavour, uint256 abstain) = council.proposalVotes(motion.id);
        assertEq(against, motion.votes[0]);
        assertEq(inFavour, motion.votes[FOR]);
        assertEq(abstain, motion.votes[ABSTAIN]);
        assertLe(against + inFavour + abstain, motion.groups, "more votes than groups");
        assertEq(members.getPastTotalSupply(motion.snapshot), motion.groups);
        for (uint256 j; j < people.length; ++j) {
            assertEq(council.hasVoted(motion.id, people[j]), hasVoted[motion.id][people[j]]);
        }
    }

    function _sumWindow(bytes32 classId, uint32 window, uint256[] memory acquired, uint256[] memory redeemed)
        private
        view
    {
        for (uint256 i; i < ids.length; ++i) {
            if (!_isOf(ids[i], classId, window)) continue;
            for (uint256 j; j < people.length; ++j) {
                _addUp(acquired, people[j], access.balanceOf(people[j], ids[i]));
            }
        }
        for (uint256 i; i < leases.length; ++i) {
            IAccess.Lease memory l = access.leaseOf(leases[i]);
            if (!_isOf(l.id, classId, window)) continue;
            _addUp(acquired, l.holder, l.amount);
            _addUp(redeemed, l.holder, l.amount);
        }
    }

    function _addUp(uint256[] memory sums, address account, uint256 amount) private view {
        if (amount == 0) return;
        address[] memory path = members.pathOf(account);
        for (uint256 k; k < path.length; ++k) {
            sums[_indexOf(path[k])] += amount;
        }
    }

    function _isOf(uint256 id, bytes32 classId, uint32 window) private view returns (bool) {
        (bytes32 ofClass, uint32 ofWindow) = _of(id);
        return ofClass == classId && ofWindow == window;
    }

    function _outstanding(uint256 id) private view returns (uint256 sum) {
        for (uint256 j; j < people.length; ++j) {
            sum += access.balanceOf(people[j], id);
        }
    }

    function _leased(uint256 id) private view returns (uint256 sum) {
        for (uint256 i; i < leases.length; ++i) {
            IAccess.Lease memory l = access.leaseOf(leases[i]);
            if (l.id == id) sum += l.amount;
        }
    }

    function _liveUnits(uint256 c) private view returns (uint256 sum) {
        for (uint256 i; i < assets.length; ++i) {
            ILedger.Asset memory asset = ledger.assetOf(assets[i]);
            if (!asset.retired && asset.classId == _class(c)) sum += asset.units;
        }
    }

    function _indexOf(address account) private view returns (uint256 j) {
        while (people[j] != account) ++j;
    }
}

/// The way through the council is open in the histories below: else what they say of it would say nothing.
contract DecisionsTest is Books {
    function testHistoriesDecide() public {
        this.pass(1);
        this.propose(0, 0, HOLD_BPS - 100, 0);
        for (uint256 seed; motion.votes[FOR] < 3; ++seed) {
            this.vote(seed);
        }
        this.carryOut();
        assertEq(ledger.classOf(GPUS).holdBps, HOLD_BPS);
        this.carryOut();
        assertEq(ledger.classOf(GPUS).holdBps, HOLD_BPS - 100);
        this.checkSettings();

        this.propose(1, 1, 0, 0);
        this.propose(1, 8, USE_BPS + 100, 0); // one at a time
        assertEq(motion.which, 1);
    }
}

/// The books are checked after every tenth call: what is once out of balance stays so, and checking takes nine tenths of
/// the time.
/// forge-config: default.invariant.runs = 32
/// forge-config: deep.invariant.runs = 1000
/// forge-config: default.invariant.depth = 100
/// forge-config: default.invariant.check-interval = 10
/// forge-config: default.invariant.fail-on-revert = true
/// forge-config: deep.invariant.check-interval = 10
/// forge-config: deep.invariant.fail-on-revert = true
contract InvariantsTest is Test {
    Books internal books;

    function setUp() public {
        books = new Books();
        books.setUp();
        bytes4[] memory selectors = new bytes4[](41);
        selectors[0] = UnitsHandler.registerAsset.selector;
        selectors[1] = UnitsHandler.renewAppraisal.selector;
        selectors[2] = UnitsHandler.transferUnits.selector;
        selectors[3] = UnitsHandler.declineUnits.selector;
        selectors[4] = UnitsHandler.takeUnits.selector;
        selectors[5] = UnitsHandler.lowerPrice.selector;
        selectors[6] = UnitsHandler.retireAsset.selector;
        selectors[7] = UnitsHandler.syncHolder.selector;
        selectors[8] = UnitsHandler.claimRevenue.selector;
        selectors[9] = UnitsHandler.shareCommons.selector;
        selectors[10] = UnitsHandler.claimCommons.selector;
        selectors[11] = Handler.openTranche.selector;
        selectors[12] = Handler.acquire.selector;
        selectors[13] = Handler.transferCredits.selector;
        selectors[14] = Handler.redeemCredits.selector;
        selectors[15] = Handler.splitLease.selector;
        selectors[16] = Handler.topUpLease.selector;
        selectors[17] = Handler.rotateKey.selector;
        selectors[18] = Handler.settleLease.selector;
        selectors[19] = Handler.refund.selector;
        selectors[20] = Handler.anchorEpoch.selector;
        selectors[21] = Handler.join.selector;
        selectors[22] = Handler.leaveGroup.selector;
        selectors[23] = Handler.challenge.selector;
        selectors[24] = Handler.recoverKey.selector;
        selectors[25] = Handler.recoverWhatItHas.selector;
        selectors[26] = Handler.refuse.selector;
        selectors[27] = Handler.lapseOrRenew.selector;
        selectors[28] = CouncilHandler.pass.selector;
        selectors[29] = CouncilHandler.meddle.selector;
        selectors[30] = CouncilHandler.enact.selector;
        // More often than the rest: a decision takes four of them, in this order.
        selectors[31] = selectors[32] = selectors[33] = CouncilHandler.propose.selector;
        selectors[34] = selectors[35] = selectors[36] = CouncilHandler.vote.selector;
        selectors[37] = selectors[38] = selectors[39] = selectors[40] = CouncilHandler.carryOut.selector;
        targetSelector(FuzzSelector(address(books), selectors));
        targetContract(address(books));
    }

    /// One function and not seven: each of them would play the same histories again.
    function invariant_booksBalance() public view {
        books.checkUnits();
        books.checkCredits();
        books.checkCapacity();
        books.checkMoney();
        books.checkRevenue();
        books.checkSettings();
        books.checkVotes();
    }
}
