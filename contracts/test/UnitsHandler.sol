// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {Base} from "./Base.t.sol";

/// Does what people do, with every contract. What the ledger is asked for is within what is allowed: a call that reverts is
/// a bug here or there, and fails the run; one more than is allowed must be refused. What has many conditions elsewhere is
/// tried (`_try`): it may be refused, but never by a panic.
abstract contract UnitsHandler is Base {
    uint256 internal constant MOST_ASSETS = 5;
    uint256 internal constant MOST_IDS = 10;
    uint256 internal constant MOST_LEASES = 12;
    uint256 internal constant MOST_RECOVERIES = 3;
    uint256 internal constant LEAST_GROUPS = 3;

    address[] internal people; // those who took the place of others as well
    uint256[] internal assets;
    uint256[] internal ids;
    bytes32[] internal leases;
    mapping(uint256 asset => ILedger.Appraisal) internal appraisals;
    mapping(bytes32 lease => uint256) internal signedMs; // the most that both keys have signed for
    uint256 internal recoveries;

    /// No operation but a join may leave a group above a limit that it has come closer to.
    modifier increasesEndWithinTheLimit() {
        uint256[] memory before = _allHeld();
        _;
        _checkIncreases(before);
    }

    /* ASSETS AND UNITS */

    function registerAsset(uint64 units, uint8 by, uint8 owner_, uint64 share, uint32 term, bool compute)
        public
        increasesEndWithinTheLimit
    {
        (address registrant, address owner) = (_person(by), _person(owner_));
        // What is minted comes from nobody: inside a group, too, it is refused by who refuses gifts.
        if (assets.length == MOST_ASSETS || !_takes(registrant, registrant)) return;
        if (owner != registrant && !_takes(address(0), owner)) return;
        ILedger.Appraisal memory a = _appraisal(registrant, uint64(bound(units, 1, 60 * GPU)), term, compute);
        share = uint64(bound(share, 0, a.units));
        uint256 asset = register(a, twoShares(owner, share, registrant, a.units - share));
        assets.push(asset);
        appraisals[asset] = a;
    }

    function renewAppraisal(uint8 which, uint32 term) external increasesEndWithinTheLimit {
        uint256 asset = _asset(which);
        ILedger.Asset memory stored = ledger.assetOf(asset);
        if (stored.retired) return;
        ILedger.Appraisal memory a = appraisals[asset];
        (a.registrant, a.expiresAt) = (stored.operator, uint48(vm.getBlockTimestamp() + bound(term, 1 days, 60 days)));
        if (a.expiresAt <= stored.expiresAt) return;
        ledger.renew(asset, a, appraised(a));
    }

    function transferUnits(uint8 which, uint8 from_, uint8 to_, uint64 units) external increasesEndWithinTheLimit {
        (uint256 asset, address from, address to) = (_asset(which), _person(from_), _person(to_));
        if (_isReplaced(from) || !_takes(from, to)) return;
        uint256 most = ledger.balanceOf(from, asset);
        if (members.rootOf(from) != members.rootOf(to) && !ledger.assetOf(asset).retired) {
            uint256 headroom = ledger.headroom(appraisals[asset].classId, to);
            if (headroom < most) {
                assertFalse(ledger.canTransfer(from, to, asset, headroom + 1));
                vm.prank(from);
                try ledger.transfer(to, asset, headroom + 1) {
                    assertTrue(false, "transferred too much");
                } catch {}
                most = headroom;
            }
        }
        units = uint64(bound(units, 0, most));
        assertTrue(ledger.canTransfer(from, to, asset, units));
        vm.prank(from);
        ledger.transfer(to, asset, units);
    }

    /// Never refused, whatever the limits say.
    function declineUnits(uint8 which, uint8 from_, uint64 units) external increasesEndWithinTheLimit {
        (uint256 asset, address from) = (_asset(which), _person(from_));
        if (_isReplaced(from)) return;
        units = uint64(bound(units, 0, ledger.balanceOf(from, asset)));
        vm.prank(from);
        ledger.decline(asset, units);
    }

    function takeUnits(uint8 which, uint8 to_, uint64 units) external increasesEndWithinTheLimit {
        (uint256 asset, address to) = (_asset(which), _person(to_));
        ILedger.Asset memory stored = ledger.assetOf(asset);
        uint256 most = _min(ledger.commonsOf(asset), ledger.headroom(stored.classId, to));
        if (stored.retired || !members.isActive(to) || most == 0) return;
        units = uint64(bound(units, 1, most));
        fund(to, address(ledger), uint256(units) * stored.commonsPrice / 1e6 + 1);
        vm.prank(to);
        ledger.take(asset, units, stored.commonsPrice);
    }

    function lowerPrice(uint8 which, uint128 price) external {
        uint256 asset = _asset(which);
        ILedger.Asset memory stored = ledger.assetOf(asset);
        if (stored.commonsPrice == 0) return;
        price = uint128(bound(price, 0, stored.commonsPrice - 1));
        bool isLower = _try(stored.operator, address(ledger), abi.encodeCall(ILedger.lowerCommonsPrice, (asset, price)));
        assertEq(isLower, !_isReplaced(stored.operator), "by the operator, while its key is not lost");
    }

    function retireAsset(uint8 which) external increasesEndWithinTheLimit {
        uint256 asset = _asset(which);
        ILedger.Asset memory stored = ledger.assetOf(asset);
        if (stored.retired || vm.getBlockTimestamp() < stored.expiresAt + GRACE) return;
        ledger.retire(asset, appraisals[asset].devices);
    }

    function syncHolder(uint8 which, uint8 holder) external increasesEndWithinTheLimit {
        uint256 asset = _asset(which);
        if (!ledger.assetOf(asset).retired) return;
        address[] memory holders = new address[](1);
        holders[0] = _person(holder);
        ledger.sync(asset, holders);
    }

    /* REVENUE */

    function claimRevenue(uint8 which, uint8 account_) external {
        (uint256 asset, address account) = (_asset(which), _person(account_));
        uint256 amount = ledger.revenueOf(asset, account);
        if (amount != 0) assertEq(ledger.claim(asset, account), amount);
    }

    function shareCommons(uint8 which) external {
        if (ledger.revenueOf(_asset(which), address(ledger)) != 0) ledger.shareCommons(_asset(which));
    }

    function claimCommons(uint8 root) external {
        if (ledger.commonsRevenueOf(_person(root)) != 0) ledger.claimCommons(_person(root));
    }

    /* SMALL THINGS */

    /// True when the call was done. Refused it may be; a panic is a bug, and so is a lack of data.
    function _try(address from, address to, bytes memory data) internal returns (bool done) {
        bytes memory answer;
        vm.prank(from);
        (done, answer) = to.call(data);
        if (!done) {
            assertGe(answer.length, 4, "refused without a reason");
            assertTrue(bytes4(answer) != bytes4(0x4e487b71), "panic");
        }
    }

    function _appraisal(address registrant, uint64 units, uint32 term, bool compute)
        internal
        returns (ILedger.Appraisal memory a)
    {
        a = compute ? machine(units) : dataset(units);
        a.registrant = registrant;
        a.expiresAt = uint48(vm.getBlockTimestamp() + bound(term, 1 days, 60 days));
        a.level = 5; // above what any decision can ask for
        (a.meterKeyX, a.meterKeyY) = publicKey(METER_KEY);
    }

    function _allHeld() internal view returns (uint256[] memory held) {
        held = new uint256[](2 * people.length);
        for (uint256 i; i < held.length; ++i) {
            held[i] = ledger.heldBy(_class(i), people[i / 2]);
        }
    }

    function _checkIncreases(uint256[] memory before) internal view {
        for (uint256 i; i < before.length; ++i) {
            address account = people[i / 2];
            if (members.rootOf(account) == account && ledger.heldBy(_class(i), account) > before[i]) {
                assertFalse(ledger.isOver(_class(i), account), "increased beyond the holding limit");
            }
        }
    }

    /// What the limits leave: of the group, and of the asset.
    function _acquirable(uint256 id, address to) internal view returns (uint256 most) {
        (bytes32 classId, uint32 window) = _of(id);
        uint256 capacity = access.capacity(id >> 64);
        most = _min(access.useHeadroom(classId, window, to), capacity);
        most = _min(most, capacity - _min(capacity, access.issued(id >> 64, window)));
    }

    function _isEnded(uint256 id) internal view returns (bool) {
        (, uint32 window) = _of(id);
        return window < access.currentWindow();
    }

    function _checkAcquired(uint256 id, address to) internal view {
        (bytes32 classId, uint32 window) = _of(id);
        uint256 acquired = access.acquiredBy(classId, window, members.rootOf(to));
        uint256 useBps = ledger.classOf(classId).useBps;
        assertLe(acquired, ledger.capBase(classId) * WINDOW * useBps / 1e10, "acquired too much");
        assertFalse(ledger.isOver(classId, to), "acquired while over the holding limit");
    }

    /// Whether `to` may receive from `from`.
    function _takes(address from, address to) internal view returns (bool) {
        (,,, bool refuses) = members.memberOf(to);
        if (!members.isActive(to)) return false;
        return !refuses || from == to || members.rootOf(from) == members.rootOf(to);
    }

    function _isReplaced(address account) internal view returns (bool) {
        return members.successorOf(account) != address(0);
    }

    function _last(address account) internal view returns (address) {
        while (_isReplaced(account)) {
            account = members.successorOf(account);
        }
        return account;
    }

    function _of(uint256 id) internal view returns (bytes32 classId, uint32 window) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return (appraisals[id >> 64].classId, uint32(id >> 32));
    }

    function _class(uint256 i) internal pure returns (bytes32) {
        return i % 2 == 0 ? GPUS : TEXT;
    }

    function _asset(uint8 i) internal view returns (uint256) {
        return assets[i % assets.length];
    }

    function _person(uint8 i) internal view returns (address) {
        return people[i % people.length];
    }

    function _min(uint256 a, uint256 b) internal pure returns (uint256) {
        return a < b ? a : b;
    }
}
